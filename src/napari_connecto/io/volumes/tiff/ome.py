"""OME-XML: the image that belongs to a tifffile series, the order of its planes, and its voxel size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import tifffile

from napari_connecto.core.errors import InputError
from napari_connecto.io.files import is_url, open_binary
from napari_connecto.io.volumes.levels import unit_nm

MOST_PLANES = 10**7
Plane = tuple[str, int]
"""Name of a file and number of an IFD in it."""


@dataclass(frozen=True)
class OmeImage:
    """One ``Image`` of OME-XML.

    ``extent`` is that of the axes before y and x, by their letters, slowest first; ``planes`` are keyed by their place
    along these. ``size`` is the voxel size with nm per unit, None where the unit is no length.
    """

    number: int
    name: str
    extent: Mapping[str, int]
    planes: Mapping[int, Plane]
    size: Mapping[str, tuple[float, float | None]]

    @property
    def count(self) -> int:
        """Number of planes."""
        return math.prod(self.extent.values())

    @property
    def files(self) -> list[str]:
        """Names of the files that hold planes."""
        return list(dict.fromkeys(file for file, _ in self.planes.values()))


def open_ome(path: str) -> tuple[tifffile.TiffFile, str | None]:
    """A TIFF with the OME-XML that describes it, None where none does: its own, or that of a companion.

    ``path`` may be the companion, or any file of a set. The file that is opened may be another one of the set.

    Raises
    ------
    InputError
        If the companion, or every file it names, is missing.
    """
    if path.lower().endswith(".ome"):
        companion = _read(path, path)
        names = [uuid.get("FileName", "") for uuid in _root(companion, path).iter() if _is(uuid, "UUID")]
        there = [name for name in names if name and _there(path, name)]
        if not there:
            raise InputError(f"'{path}' describes {names[:4]}, none of which is beside it; copy them into its folder")
        return _open(_beside(path, there[0]), companion), companion
    with ExitStack() as held:  # another file is opened instead, or none
        file = held.enter_context(_open(path))
        xml = file.ome_metadata if file.is_ome else None
        binary = next((part for part in _root(xml, path) if _is(part, "BinaryOnly")), None) if xml else None
        if binary is None:
            held.pop_all()
            return file, xml
        name = _plain(binary.get("MetadataFile", ""), path)
    try:
        if name.lower().endswith((".tif", ".tiff", ".btf", ".tf2", ".tf8")):
            return open_ome(_beside(path, name))
        xml = _read(_beside(path, name), path)
    except (OSError, RecursionError) as error:
        raise InputError(
            f"axes and planes of '{path}' are written in '{name}', which cannot be read; copy it beside it"
        ) from error
    return _open(path, xml), xml


def _open(path: str, xml: str | None = None) -> tifffile.TiffFile:
    if not is_url(path):
        return tifffile.TiffFile(path, omexml=xml)
    return tifffile.TiffFile(open_binary(path), name=path.split("?")[0].rpartition("/")[2], omexml=xml)


def _read(path: str, asked: str) -> str:
    """The text of a companion, without an identifier of its own, which tifffile would take for that of a TIFF."""
    with open_binary(path) as stream:
        root = _root(stream.read().decode("utf-8", "replace"), asked)
    root.attrib.pop("UUID", None)
    return ElementTree.tostring(root, encoding="unicode")


def _beside(path: str, name: str) -> str:
    return f"{path.rpartition('/')[0]}/{name}" if is_url(path) else str(Path(path).parent / name)


def _there(path: str, name: str) -> bool:
    """Whether a TIFF of this name lies beside ``path``."""
    beside = Path(path).parent / name
    if is_url(path) or not beside.is_file():
        return False
    with beside.open("rb") as file:
        return file.read(2) in (b"II", b"MM")


def ome_images(xml: str, file: tifffile.TiffFile, path: str) -> list[OmeImage]:
    """All images of OME-XML, those without planes too."""
    root = _root(xml, path)
    images = [part for part in root if _is(part, "Image")]
    return [_image(number, image, root.get("UUID"), file) for number, image in enumerate(images)]


def _root(xml: str, path: str) -> Element:
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"the OME-XML of '{path}' cannot be read ({error}); write the file again") from error


def _is(part: Element, name: str) -> bool:
    return isinstance(part.tag, str) and part.tag.rpartition("}")[2] == name


def _plain(name: str, path: str) -> str:
    """``name``, if it is a file in the same folder; files elsewhere are not opened."""
    if "/" in name or "\\" in name:
        raise InputError(
            f"the OME-XML of '{path}' names '{name}', a file outside its folder; copy that file beside it, and correct "
            "the name"
        )
    return name


def _parts(part: Element, name: str) -> Iterator[Element]:
    return (inner for inner in part if _is(inner, name))


def _image(number: int, image: Element, own: str | None, file: tifffile.TiffFile) -> OmeImage:
    pixels = next(_parts(image, "Pixels"), None)
    if pixels is None:
        return OmeImage(number, image.get("Name", ""), {}, {}, {})
    samples = max((int(c.get("SamplesPerPixel", 1)) for c in _parts(pixels, "Channel")), default=1)
    order = pixels.get("DimensionOrder", "XYZCT")[:1:-1]  # slowest first
    extent = tuple(int(pixels.get(f"Size{a}", 1)) // (samples if a == "C" else 1) for a in order)
    planes: dict[int, Plane] = {}
    for data in _parts(pixels, "TiffData"):
        first = [int(data.get(f"First{a}", 0)) for a in order]
        if any(i >= n for i, n in zip(first, extent, strict=True)):
            continue
        start = sum(i * math.prod(extent[k + 1 :]) for k, i in enumerate(first))
        name = file.filename
        for uuid in _parts(data, "UUID"):
            stated = _plain(uuid.get("FileName", ""), file.filename)
            name = file.filename if (own and uuid.text == own) or not stated else stated
            break
        count = int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else 0)))
        count = min(count or len(file.pages), math.prod(extent) - start, MOST_PLANES)
        planes.update({start + k: (name, int(data.get("IFD", 0)) + k) for k in range(count)})
    size: dict[str, tuple[float, float | None]] = {}
    for a in "ZYX":
        if f"PhysicalSize{a}" in pixels.attrib:
            value = float(pixels.get(f"PhysicalSize{a}", "nan"))
            if math.isfinite(value) and value > 0:
                size[a.lower()] = value, unit_nm(pixels.get(f"PhysicalSize{a}Unit", "µm"))
    return OmeImage(number, image.get("Name", ""), dict(zip(order, extent, strict=True)), planes, size)


def image_of(series: tifffile.TiffPageSeries, images: list[OmeImage], path: str) -> OmeImage:
    """The image that a series holds the planes of: by file and IFD, never by position.

    Raises
    ------
    InputError
        If none is, or planes or files are missing.
    """
    if series.kind != "ome":
        return _image_without_planes(series, images, path)
    key = (series.keyframe.parent.filename, series.keyframe.index)
    found = [image for image in images if key in image.planes.values()]
    named = [image for image in found if image.name == series.name]
    if not found:
        raise InputError(f"'{path}' has pixels that its OME-XML does not describe; write it again")
    image = (named or found)[0]
    check_files(path, series.keyframe.parent.filename, image.files)
    lacking = image.count - len(image.planes)
    if lacking or any(page is None for page in series._pages):  # public iteration would read every page
        what = f"{lacking or 'some'} of {image.count} planes"
        raise InputError(f"the OME-XML of '{path}' does not say where {what} are; copy it again, or write it again")
    return image


def _image_without_planes(series: tifffile.TiffPageSeries, images: list[OmeImage], path: str) -> OmeImage:
    """The only image of OME-XML that does not say where its planes are, if they can only be in the order of z."""
    image = images[0]
    only_z = all(n == 1 for axis, n in image.extent.items() if axis != "Z")
    if len(images) > 1 or image.planes or not only_z or image.count != len(series):
        raise InputError(f"the OME-XML of '{path}' does not fit its pages, their number or their size; write it again")
    return image


def check_files(path: str, own: str, names: Sequence[str]) -> None:
    """Raise `InputError` for files of a set that are not beside ``path``; ``own`` is the one that was found."""
    missing = [name for name in names if name != own and not _there(path, name)]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing[:4]) + (", ..." if len(missing) > 4 else "")
        do = "download" if is_url(path) else "copy"
        raise InputError(
            f"'{path}' is a part of an OME-TIFF whose planes lie in several files, of which {listed} cannot be read; "
            f"{do} all of them into one folder, under their own names"
        )
