"""Import a bioimage.io package as a native model, if it reproduces its own test output here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import ModelError, VoxelSizeError
from napari_connecto.core.geometry import FVec3, Vec3, fvec3
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Volume
from napari_connecto.io.packages.bioimage import Package, read_package
from napari_connecto.io.packages.bioimage_axes import PackageAxis
from napari_connecto.models.files import save_model
from napari_connecto.models.imported.predictor import KIND, ImportedPredictor, converted, from_layout
from napari_connecto.models.imported.steps import pointwise, split
from napari_connecto.workflows.packages.bare import bare_model, is_bare, noise_for

TOLERANCE = 1e-4
"""Largest deviation from a test tensor: this, absolute and relative to its value."""
EXTENT = {True: (1, 256, 256), False: (32, 128, 128)}
"""Smallest extent of one call if the package leaves it open, (z, y, x), for flat and for other networks."""
UNSTATED_HALO = 16
"""Extent in y and x (a quarter of it in z) if the package states none and leaves it open."""


def import_model(
    package: str | Path,
    out: str | Path,
    *,
    voxel_nm: Sequence[float] | None = None,
    boundary: str = "",
    source: str = "",
    overwrite: bool = False,
) -> ModelCard:
    """Convert a bioimage.io model package, or a TorchScript file, to a model folder for `load_model`.

    Parameters
    ----------
    package
        Zip or folder with ``rdf.yaml``, ``bioimageio.yaml`` or ``NAME.bioimageio.yaml``, or that file in its folder;
        format 0.4 or 0.5. Or a TorchScript file alone, see `napari_connecto.workflows.packages.bare`. Nothing is
        downloaded, unpacked or executed but the network itself, as TorchScript (see
        `napari_connecto.models.imported.torchscript.load_torchscript`) or ONNX.
    out
        Folder to write.
    voxel_nm
        Voxel size the model was trained at, nm, (z, y, x); needed where the package states none. Of a model of single
        sections z does not count; it is taken as y where only y and x are stated.
    boundary
        Name of the output that is the probability of a boundary; the others are left out, and the model can be ranked
        and used to segment. An only output with "boundary" or "membrane" in its name is taken by itself.
    source
        Where the package comes from, for the card.
    overwrite
        Replace a model that is in ``out``.

    Returns
    -------
    ModelCard
        As written. ``scale_range`` and ``zero_mean_unit_variance`` at the start of the preprocessing are taken from the
        whole volume, so that tiles never differ in brightness; all other steps are done voxel by voxel.

    Raises
    ------
    InputError
        If the extra ``bioimageio`` is not installed, or ``onnx`` where the network comes as ONNX alone.
    VoxelSizeError
        If no voxel size is stated nor given.
    ModelError
        If the package is unsafe, damaged or not supported, or misses its own test tensors by more than 1e-4 (of the
        value, where that is above 1), or the output ``boundary`` is not there or not a probability.
    StoreError
        If ``out`` cannot be written, or holds a model and ``overwrite`` is False.
    """
    values: np.ndarray | None = None
    if is_bare(Path(package)):
        model = bare_model(package, voxel_nm)
        values = model.answer(noise_for(model.card)) if boundary else None
    else:
        parsed = read_package(package)
        model = _verified(parsed, voxel_nm)
        values = from_layout(parsed.test_output, parsed.answer_axes)
    chosen = boundary_output([output.name for output in model.card.outputs], boundary)
    if chosen:
        model = _of_boundary(model, values, chosen)
    if source:
        model = ImportedPredictor(replace(model.card, training=source), model.weights, "cpu")
    return save_model(model, out, overwrite=overwrite)


def boundary_output(outputs: Sequence[str], named: str = "") -> str:
    """The output that is a boundary: the one named, else an only one whose name says so; "" for none.

    Raises
    ------
    ModelError
        If there is none of the name.
    """
    if named and named not in outputs:
        raise ModelError(f"got the output '{named}'; the model gives {', '.join(outputs)}")
    told = len(outputs) == 1 and any(word in outputs[0].lower() for word in ("boundar", "membrane"))
    return named or (outputs[0] if told else "")


def verified(package: str | Path, voxel_nm: Sequence[float] | None = None) -> ImportedPredictor:
    """The model of a package, if it reproduces the package's test output, or of a bare TorchScript file.

    Errors as in `import_model`.
    """
    if is_bare(Path(package)):
        return bare_model(package, voxel_nm)
    return _verified(read_package(package), voxel_nm)


def _verified(parsed: Package, voxel_nm: Sequence[float] | None) -> ImportedPredictor:
    model = _model(parsed, _voxel_nm(parsed, voxel_nm))
    _verify(model, parsed)
    return model


def _of_boundary(model: ImportedPredictor, answer: np.ndarray | None, name: str) -> ImportedPredictor:
    """A model of which one output is used, as the probability of a boundary; ``answer`` is its test output, if any.

    Raises
    ------
    ModelError
        If the test output (of a bare file the answer to noise) is not within 0 and 1 there, or coarser than the image.
    """
    index, count = [output.name for output in model.card.outputs].index(name), len(model.card.outputs)
    if answer is not None:
        low, high = float(answer[:, index].min()), float(answer[:, index].max())
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise ModelError(f"the output '{name}' goes from {low:.3g} to {high:.3g}; that is no probability")
    output = model.card.output(name)
    if output.stride != (1, 1, 1):
        raise ModelError(f"the output '{name}' is coarser than the image, so it cannot be used as a boundary")
    network = {**model.card.network, **({"taken": [index, count]} if count > 1 else {})}
    card = replace(model.card, task="boundary", outputs=(replace(output, name="boundary"),), network=network)
    return ImportedPredictor(card, model.weights, "cpu")


def _model(package: Package, voxel_nm: FVec3) -> ImportedPredictor:
    normalisation, before = split(package.before, package.axes, package.channels)
    after = pointwise(package.after, "postprocessing")
    arguments: dict[str, Any] = dict(package.kwargs or {})
    own = {"pytorch_state_dict": "state_dict"}.get(package.format, package.format)
    weights = package.weights
    if own == "state_dict":
        weights = converted(weights, package.architecture, arguments, "the weights")
    tile, halo, stride, trimmed = _tiling(package.space)
    card = ModelCard(
        name=package.name,
        task="boundary" if boundary_output(package.outputs) else "imported",
        voxel_nm=voxel_nm,
        tile=tile,
        halo=halo,
        outputs=tuple(Output(name, stride, trimmed) for name in package.outputs),
        channels=package.channels,
        normalisation=normalisation,
        network={
            "kind": KIND,
            "format": own,
            "axes": package.axes,
            "answer": package.answer_axes,
            "before": before,
            "after": after,
            "architecture": package.architecture,
            "kwargs": arguments,
        },
        licence=package.licence,
        training="imported from a bioimage.io package",
    )
    return ImportedPredictor(card, weights, "cpu")


def _voxel_nm(package: Package, given: Sequence[float] | None) -> FVec3:
    if given is not None:
        if len(given) != 3 or not all(math.isfinite(v) and v > 0 for v in given):
            raise VoxelSizeError(f"got voxel_nm {tuple(given)}; three positive numbers in nm, (z, y, x), are needed")
        return fvec3(given)
    section = package.space["y"]  # sections may have any thickness
    stated = [package.space.get(letter, section).nm for letter in "zyx"]
    sizes = [nm for nm in stated if nm is not None]
    if len(sizes) < 3:
        raise VoxelSizeError(
            f"the package states no voxel size ({3 - len(sizes)} of 3 axes lack it); give the size the model was "
            "trained at in nm (voxel_nm=, --voxel-nm Z Y X)"
        )
    return fvec3(sizes)


def _tiling(space: Mapping[str, PackageAxis]) -> tuple[Vec3, Vec3, Vec3, Vec3]:
    """Tile, halo, stride and trim, (z, y, x), that the network accepts."""
    axes = [space.get(letter, PackageAxis(1, 0)) for letter in "zyx"]
    stated = any(axis.halo or axis.trimmed for axis in axes)
    wanted = EXTENT["z" not in space]
    tiles, halos = [], []
    for i, axis in enumerate(axes):
        default = UNSTATED_HALO // (4 if i == 0 else 1)
        least = axis.trimmed + (axis.halo if stated or axis.step == 0 else default)
        tile, halo = _along(axis, wanted[i], least, "zyx"[i])
        tiles.append(tile)
        halos.append(halo)
    strides, trims = [axis.stride for axis in axes], [axis.trimmed for axis in axes]
    return _three(tiles), _three(halos), _three(strides), _three(trims)


def _along(axis: PackageAxis, wanted: int, least: int, letter: str) -> tuple[int, int]:
    """Tile and halo along one axis: output cells, and if possible the network's steps, are aligned in every tile."""
    steps = 0 if axis.step == 0 else max(0, -(-(max(wanted, 4 * least) - axis.least) // axis.step))
    extent = axis.least + steps * axis.step
    aligned = math.lcm(axis.stride, max(axis.step, 1))
    for grid in (aligned, axis.stride):
        for halo in range(least, least + 2 * grid + 1):
            tile = extent - 2 * halo
            if tile > 0 and tile % grid == 0 and (halo - axis.trimmed) % axis.stride == 0:
                return tile, halo
    raise ModelError(f"an extent of {extent} voxels along {letter} leaves no tile within a halo of {least}")


def _three(values: Sequence[int]) -> Vec3:
    z, y, x = values
    return z, y, x


def _verify(model: ImportedPredictor, package: Package) -> None:
    """Raise unless the network gives the test output for the test input."""
    for array, axes, what in (
        (package.test_input, package.axes, "input"),
        (package.test_output, package.answer_axes, "output"),
    ):
        if array.ndim != len(axes):
            raise ModelError(
                f"the test {what} has {array.ndim} axes, but its description says '{axes}'; the package is not imported"
            )
    image = from_layout(package.test_input, package.axes)
    if image.shape[1] != package.channels:
        raise ModelError(f"the test input has {image.shape[1]} channels, but the model takes {package.channels}")
    joined = image.transpose(1, 0, 2, 3, 4).reshape(image.shape[1], -1, *image.shape[3:])
    scaling = model.card.normalisation.resolve(Volume.from_array(joined, (1, 1, 1)), max_voxels=joined.size)
    got = model.answer(scaling(image))
    want = from_layout(package.test_output, package.answer_axes).astype(np.float64)
    if got.shape != want.shape:
        raise ModelError(f"the test output has shape (b c z y x) {want.shape}, but the network gives {got.shape}")
    off = np.abs(got - want)
    if not (off <= TOLERANCE * np.maximum(1, np.abs(want))).all():
        raise ModelError(
            f"the network deviates from the package's test output by {off.max():.2g}, more than {TOLERANCE:g}; "
            "the package is not imported"
        )
