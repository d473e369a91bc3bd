"""A TorchScript file without a description: what the network itself can tell is found by trying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from napari_connecto.core.errors import InputError, ModelError, StoreError, VoxelSizeError
from napari_connecto.core.geometry import FVec3, Vec3, fvec3, vec3
from napari_connecto.core.model import ModelCard, Normalisation, NormalisationKind, Output
from napari_connecto.models.imported.predictor import KIND, ImportedPredictor
from napari_connecto.models.imported.torchscript import MAX_BYTES, load_torchscript

SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".jit")
READ: dict[str, Vec3] = {"bcyx": (1, 256, 256), "bczyx": (32, 128, 128)}
"""Extent of one call, halo included, by the order of the network's axes."""
STEP: dict[str, Vec3] = {"bcyx": (1, 16, 16), "bczyx": (4, 16, 16)}
"""Halos are multiples of it, so that networks that halve the image several times see every tile alike."""
CHANNELS = (1, 3)
SEEN = 1e-3
"""Change of the answer, as a share of its largest change, from which a voxel counts as seen."""


def is_bare(path: Path) -> bool:
    """Whether it is a file of a network alone, by its name."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def bare_model(
    path: str | Path, voxel_nm: Sequence[float] | None, normalisation: NormalisationKind = "percentile"
) -> ImportedPredictor:
    """A TorchScript network as a model; axes, channels, outputs and halo are found by running it on noise.

    Parameters
    ----------
    path
        What ``torch.jit.save`` wrote. It takes (b, c, y, x) or (b, c, z, y, x) and gives as many voxels along each
        axis; every output channel becomes an output.
    voxel_nm
        That it was trained at, nm, (z, y, x).
    normalisation
        How it wants its intensities; the file does not say: "percentile" (the 1st and 99th of the volume become 0 and
        1), "range" (that of the data type), "standard" (mean 0, standard deviation 1) or "none".

    Raises
    ------
    VoxelSizeError
        Without a voxel size.
    ModelError
        If it is no TorchScript, unsafe, or takes or gives something else.
    InputError
        If there is no such normalisation.
    """
    path = Path(path)
    if voxel_nm is None:
        raise VoxelSizeError(
            f"'{path.name}' states no voxel size; give the size the model was trained at in nm (voxel_nm=, "
            "--voxel-nm Z Y X)"
        )
    if normalisation not in get_args(NormalisationKind):
        allowed = ", ".join(get_args(NormalisationKind))
        raise InputError(f"got normalisation={str(normalisation)[:40]!r}; allowed: {allowed}")
    weights = _read(path)
    load_torchscript(weights, f"'{path.name}'")
    failures = []
    for axes, channels in product(READ, CHANNELS):
        try:
            return _probed(path.stem, axes, channels, fvec3(list(voxel_nm)), Normalisation(normalisation), weights)
        except ModelError as error:
            failures.append(str(error))
    raise ModelError(
        f"'{path.name}' takes neither sections (1, c, y, x) nor blocks (1, c, z, y, x) of {CHANNELS[0]} or "
        f"{CHANNELS[1]} channels: {failures[0]:.300}"
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size <= MAX_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise StoreError(f"'{path}' cannot be read ({error})") from error
    raise ModelError(f"'{path}' is larger than {MAX_BYTES} bytes; it is not opened")


def _probed(
    name: str, axes: str, channels: int, voxel_nm: FVec3, normalisation: Normalisation, weights: bytes
) -> ImportedPredictor:
    """The network with these axes and channels, its outputs and halo as a run on noise shows them."""
    read, steps = READ[axes], {"before": [], "after": [], "architecture": "", "kwargs": {}}
    network = {"kind": KIND, "format": "torchscript", "axes": axes, "answer": axes, **steps}
    card = ModelCard(
        name=name,
        task="imported",
        voxel_nm=voxel_nm,
        tile=read,
        halo=(0, 0, 0),
        outputs=(Output("output"),),
        channels=channels,
        normalisation=normalisation,
        network=network,
        training="imported from a TorchScript file, which does not say",
    )
    model = ImportedPredictor(card, weights, "cpu")
    noise = noise_for(card)
    answer = model.answer(noise)
    if answer.shape[2:] != read:
        raise ModelError(f"the network turns {read} voxels into {answer.shape[2:]}; it must give as many")
    if not np.isfinite(answer).all():
        raise ModelError("the network turns noise into values that are not finite; it cannot be used")
    halo = _halo(model, noise, answer, STEP[axes])
    tile = vec3([r - 2 * h for r, h in zip(read, halo, strict=True)])
    names = ("output",) if answer.shape[1] == 1 else tuple(f"output {k}" for k in range(1, answer.shape[1] + 1))
    if len(names) == 1 and any(word in name.lower() for word in ("boundar", "membrane")) and _is_probability(answer):
        card, names = replace(card, task="boundary"), ("boundary",)
    return ImportedPredictor(replace(card, tile=tile, halo=halo, outputs=tuple(map(Output, names))), weights, "cpu")


def noise_for(card: ModelCard) -> np.ndarray:
    """What a network is tried on: one call, (1, channels, z, y, x) float32 in 0..1, always the same."""
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    return np.random.default_rng(0).random((1, card.channels, *read), np.float32)


def _is_probability(answer: np.ndarray) -> bool:
    return bool(answer.min() >= 0 and answer.max() <= 1)


def _halo(model: ImportedPredictor, noise: np.ndarray, answer: np.ndarray, step: Vec3) -> Vec3:
    """How far a changed voxel in the middle changes the answer, rounded up; at most a quarter of what is read."""
    middle = [n // 2 for n in answer.shape[2:]]
    changed = noise.copy()
    changed[(0, slice(None), *middle)] += 1
    change = np.abs(model.answer(changed) - answer).max(axis=(0, 1))
    places = np.argwhere(change > SEEN * change.max()) if change.max() > 0 else np.zeros((1, 3), int) + middle
    reach = np.abs(places - middle).max(axis=0)
    most = [n // 4 // s * s for n, s in zip(answer.shape[2:], step, strict=True)]
    return vec3([min(-(-int(r) // s) * s, m) for r, s, m in zip(reach, step, most, strict=True)])
