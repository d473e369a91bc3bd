"""Writing bioimage.io model packages (format 0.5) by ``bioimageio.spec``; the counterpart of `io.packages.bioimage`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.model import ModelCard
from napari_connecto.io.disk import storing
from napari_connecto.io.packages.bioimage import spec_library

LICENCES: Mapping[str, Any] = {
    "MIT": "MIT",
    "BSD-3-Clause": "BSD-3-Clause",
    "Apache-2.0": "Apache-2.0",
    "CC0": "CC0-1.0",
    "CC BY 3.0": "CC-BY-3.0",
    "CC BY 4.0": "CC-BY-4.0",
}
"""Terms as our cards name them, and their SPDX identifiers."""
SHORTEST_NAME = 5
"""Letters that the format asks for."""


@dataclass(frozen=True)
class Draft:
    """What goes into a package.

    Parameters
    ----------
    card
        Voxel size, tile, halo, normalisation and outputs; these must lie alike on the image.
    weights, torch_version
        A TorchScript file, and the torch that wrote it.
    axes
        "bcyx" or "bczyx".
    steps
        Allowed extents are multiples of these, by letter; a letter that lacks has the one extent of the test input.
    test_input, test_output
        The image as it is before its normalisation, and what the network gives for it; on ``axes``.
    documentation
        Markdown.
    citations
        Text to DOI.
    """

    card: ModelCard
    weights: bytes
    torch_version: str
    axes: str
    steps: Mapping[str, int]
    test_input: np.ndarray
    test_output: np.ndarray
    documentation: str
    citations: Mapping[str, str]


def write_package(draft: Draft, path: str | Path, check: Callable[[Path], object]) -> Path:
    """Write a zip, whole and checked or not at all.

    Parameters
    ----------
    draft, path
        What to write, and where.
    check
        Is given the finished zip before it gets its name; what it raises leaves nothing behind.

    Raises
    ------
    InputError
        If the extra ``bioimageio`` is not installed.
    StoreError
        If ``path`` exists or cannot be written.
    ModelError
        If the outputs lie differently on the image, or ``bioimageio.spec`` finds the description invalid.
    """
    path = Path(path)
    if path.exists():
        raise StoreError(f"'{path}' exists; choose another name for the package")
    library = spec_library()
    with storing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as made:
        folder, partial = Path(made), Path(made) / "package.zip"
        with warnings.catch_warnings(), library.ValidationContext(log_warnings=False):
            warnings.simplefilter("ignore")
            try:
                library.save_bioimageio_package(_description(draft, folder), output_path=partial)
            except ValueError as error:
                reason = " ".join(str(error).split())
                raise ModelError(f"'{draft.card.name}' makes no valid package: {reason:.300}") from error
        check(partial)
        partial.replace(path)
    return path


def _description(draft: Draft, folder: Path) -> Any:
    from bioimageio.spec.model import v0_5 as spec

    files = {"weights.torchscript": draft.weights, "README.md": draft.documentation.encode()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    np.save(folder / "test_input.npy", draft.test_input)
    np.save(folder / "test_output.npy", draft.test_output)
    weights = spec.TorchscriptWeightsDescr(
        source=folder / "weights.torchscript", pytorch_version=spec.Version(draft.torch_version.split("+")[0])
    )
    return spec.ModelDescr(
        name=draft.card.name if len(draft.card.name) >= SHORTEST_NAME else f"{draft.card.name} ({draft.card.task})",
        description=f"{draft.card.task} at {' x '.join(f'{v:g}' for v in draft.card.voxel_nm)} nm; napari-connecto",
        authors=[spec.Author(name="napari-connecto")],
        cite=[spec.CiteEntry(text=text, doi=spec.Doi(doi)) for text, doi in draft.citations.items()],
        license=LICENCES.get(draft.card.licence),
        documentation=spec.FileDescr(source=folder / "README.md"),
        tags=["napari-connecto", "pytorch", draft.card.task, "2d" if "z" not in draft.axes else "3d"],
        inputs=[_input(spec, draft, folder / "test_input.npy")],
        outputs=[_output(spec, draft, folder / "test_output.npy")],
        weights=spec.WeightsDescr(torchscript=weights),
    )


def _input(spec: Any, draft: Draft, test: Path) -> Any:
    nm = dict(zip("zyx", draft.card.voxel_nm, strict=True))
    axes = [spec.BatchAxis(), spec.ChannelAxis(channel_names=[f"image{i}" for i in range(draft.card.channels)])]
    for letter in draft.axes[2:]:
        extent, step = draft.test_input.shape[draft.axes.index(letter)], draft.steps.get(letter, 0)
        size = spec.ParameterizedSize(min=_least(draft, letter, step), step=step) if step else extent
        axes.append(spec.SpaceInputAxis(id=spec.AxisId(letter), size=size, unit="nanometer", scale=nm[letter]))
    return spec.InputTensorDescr(
        id=spec.TensorId("image"),
        axes=axes,
        test_tensor=spec.FileDescr(source=test),
        data=spec.IntervalOrRatioDataDescr(type=str(draft.test_input.dtype)),
        preprocessing=_scaling(spec, draft),
    )


def _least(draft: Draft, letter: str, step: int) -> int:
    """The least extent of which something is left within the halo."""
    return (2 * draft.card.halo["zyx".index(letter)] // step + 1) * step


def _output(spec: Any, draft: Draft, test: Path) -> Any:
    first = draft.card.outputs[0]
    if any((o.stride, o.trimmed) != (first.stride, first.trimmed) for o in draft.card.outputs):
        raise ModelError(f"the outputs of '{draft.card.name}' differ in stride; a package holds one image, not several")
    axes = [spec.BatchAxis(), spec.ChannelAxis(channel_names=[output.name for output in draft.card.outputs])]
    for letter in draft.axes[2:]:
        i = "zyx".index(letter)
        stride, trimmed, halo = first.stride[i], first.trimmed[i], draft.card.halo[i]
        size = spec.SizeReference(
            tensor_id=spec.TensorId("image"), axis_id=spec.AxisId(letter), offset=-2 * trimmed // stride
        )
        common = {
            "id": spec.AxisId(letter),
            "size": size,
            "unit": "nanometer",
            "scale": stride * draft.card.voxel_nm[i],
        }
        left = (halo - trimmed) // stride
        axes.append(spec.SpaceOutputAxisWithHalo(halo=left, **common) if left else spec.SpaceOutputAxis(**common))
    return spec.OutputTensorDescr(
        id=spec.TensorId("answer"),
        axes=axes,
        test_tensor=spec.FileDescr(source=test),
        data=spec.IntervalOrRatioDataDescr(type="float32"),
    )


def _scaling(spec: Any, draft: Draft) -> list[Any]:
    """The card's `Normalisation`: of one image where we take a whole volume; the format casts back what is not cast."""
    kind, whole = draft.card.normalisation, [spec.AxisId("channel"), *(spec.AxisId(a) for a in draft.axes[2:])]
    if kind.kind == "percentile":
        kwargs = spec.ScaleRangeKwargs(axes=whole, min_percentile=kind.low, max_percentile=kind.high)
        return [spec.ScaleRangeDescr(kwargs=kwargs)]
    if kind.kind == "standard":
        return [spec.ZeroMeanUnitVarianceDescr(kwargs=spec.ZeroMeanUnitVarianceKwargs(axes=whole))]
    if kind.kind == "range" and draft.test_input.dtype.kind == "u":
        gain = 1 / float(np.iinfo(draft.test_input.dtype).max)
        linear = spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=gain))
        return [linear, spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32"))]
    return []
