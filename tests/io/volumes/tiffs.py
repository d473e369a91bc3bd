"""TIFFs as microscopes and programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

STACK = np.random.default_rng(0).integers(0, 60000, (6, 40, 50)).astype("u2")
UUIDS = [f"00000000-0000-0000-0000-00000000000{k}" for k in range(9)]


def ome(*images: str, uuid: str | None = None) -> str:
    """An OME-XML document."""
    own = f' UUID="urn:uuid:{uuid}"' if uuid else ""
    return f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{own}>{"".join(images)}</OME>'


def image(number: int, planes: str = "", *, z=1, c=1, t=1, order="XYZCT", name="", size="") -> str:
    """An image of 40 x 50 with ``planes``."""
    called = f' Name="{name}"' if name else ""
    channels = "".join(f'<Channel ID="Channel:{number}:{k}" SamplesPerPixel="1"/>' for k in range(c))
    return (
        f'<Image ID="Image:{number}"{called}><Pixels ID="Pixels:{number}" DimensionOrder="{order}" Type="uint16" '
        f'SizeX="50" SizeY="40" SizeZ="{z}" SizeC="{c}" SizeT="{t}" {size}>{channels}{planes}</Pixels></Image>'
    )


def planes(ifd=0, count=1, *, z=0, c=0, t=0, file: str | None = None, uuid: str = "") -> str:
    """``count`` planes from one IFD on, here or in another file."""
    where = f'<UUID FileName="{file}">urn:uuid:{uuid}</UUID>' if file else ""
    return f'<TiffData FirstZ="{z}" FirstC="{c}" FirstT="{t}" IFD="{ifd}" PlaneCount="{count}">{where}</TiffData>'


def sizes(z, y, x, unit="") -> str:
    """Physical sizes, in micrometres unless a unit is given."""
    parts = zip("ZYX", (z, y, x), strict=True)
    return " ".join(f'PhysicalSize{a}="{v}"' + (f' PhysicalSize{a}Unit="{unit}"' if unit else "") for a, v in parts)


def write(path: Path, array: np.ndarray, description: str, **how) -> Path:
    """Pages with a description that is not tifffile's own."""
    tifffile.imwrite(path, array, metadata=None, description=description.encode(), photometric="minisblack", **how)
    return path


def lsm(path: Path, array: np.ndarray, voxel_m: tuple[float, float, float]) -> Path:
    """A Zeiss LSM of (z, y, x): each section is followed by a thumbnail."""
    fields = [(name or "_", kind) for name, kind in tifffile.TIFF.CZ_LSMINFO]
    info = np.zeros((), np.dtype(fields))
    info["MagicNumber"], info["StructureSize"] = 67127628, info.nbytes
    info["DimensionZ"], info["DimensionY"], info["DimensionX"] = array.shape
    info["DimensionChannels"] = info["DimensionTime"] = 1
    info["VoxelSizeZ"], info["VoxelSizeY"], info["VoxelSizeX"] = voxel_m
    tag = [(34412, 1, info.nbytes, info.tobytes(), True)]
    with tifffile.TiffWriter(path) as writer:
        for k, section in enumerate(array):
            own = {"metadata": None, "photometric": "minisblack", "contiguous": False}
            writer.write(section, extratags=tag if k == 0 else [], **own)
            writer.write((section[::4, ::4] // 256).astype("u1"), subfiletype=1, **own)
    return path
