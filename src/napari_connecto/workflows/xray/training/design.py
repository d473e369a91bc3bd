"""The network of a translator, and the split of a pair into training and held-out parts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import prod

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, Vec3, vec3
from napari_connecto.core.model import ModelCard, Normalisation
from napari_connecto.models.inference.mixture import regression_outputs
from napari_connecto.models.nets.nets import divisor
from napari_connecto.models.nets.subpixel import KEY
from napari_connecto.workflows.xray.translate_params import TranslatorParams

SIDE = 96
"""Extent of a tile along y and x, and along z of the same length in nm."""
FOLDED_SIDE = 144
"""The same of a network that computes on cells, whose activations are smaller: less of a tile is halo."""
CELL = 1.5
"""Voxels deeper than this many times their width are not taken together along z."""
SHARES = {"train": 0.55, "validation": 0.12, "calibration": 0.15, "test": 0.18}
LEAST = 8
"""Smallest extent of a part along the split axis, voxels."""


def translator_card(
    params: TranslatorParams, voxel_nm: FVec3, *, membrane: bool = False, taught: bool = False
) -> ModelCard:
    """The card of an untrained member: a 3-D U-Net that computes on cells of the EM's voxels.

    The X-ray is interpolated to the EM's voxels; as it holds nothing that fine, all layers compute on cells of
    ``params.fold`` voxels along each axis, see `napari_connecto.models.nets.subpixel`. Thick sections (z more than
    `CELL` times y) are neither taken together nor halved along z. The halo is the network's whole field of view, so
    that no tile differs from its neighbours.

    Parameters
    ----------
    params, voxel_nm
        Of the network, and of the EM.
    membrane, taught
        Whether it has an output for the probability of membrane, and one for the epistemic variance of a teacher.
    """
    fold = (params.fold if voxel_nm[0] < CELL * voxel_nm[1] else 1, params.fold, params.fold)
    strides, voxel = [], [v * f for v, f in zip(voxel_nm, fold, strict=True)]
    for _ in range(params.depth - 1):
        step = (2 if voxel[0] < CELL * voxel[1] else 1, 2, 2)
        strides.append(step)
        voxel = [v * s for v, s in zip(voxel, step, strict=True)]
    steps = vec3([fold[a] * prod(s[a] for s in strides) for a in range(3)])
    reach = [f * _reach([s[a] for s in strides], params.residual) + (f > 1) for a, f in enumerate(fold)]
    halo = vec3([-(-n // d) * d for n, d in zip(reach, steps, strict=True)])
    most = FOLDED_SIDE if max(fold) > 1 else SIDE
    side = [max(1, round(most * voxel_nm[1] / v / d)) * d for v, d in zip(voxel_nm, steps, strict=True)]
    network = {
        "kind": "unet",
        "dims": 3,
        "width": params.width,
        "depth": params.depth,
        "strides": [list(s) for s in strides],
        "residual": params.residual,
        "dropout": params.dropout,
        "blur": True,
        "activation": "none",
        "half": True,
    }
    return ModelCard(
        name=params.name,
        task="translate",
        voxel_nm=voxel_nm,
        tile=vec3([min(s, most) for s in side]),
        halo=halo,
        outputs=regression_outputs(variance=params.loss != "absolute", epistemic=taught, membrane=membrane),
        normalisation=Normalisation("percentile", 1.0, 99.0),
        network={**network, **({KEY: list(fold)} if max(fold) > 1 else {})},
    )


def _reach(strides: list[int], convolutions: int) -> int:
    """Field of view to each side, in cells: kernels of 3 down, at the bottom, up, in the blur and after it."""
    scales = [prod(strides[:i]) for i in range(len(strides) + 1)]
    return (
        sum(3 * fine + convolutions * coarse for fine, coarse in itertools.pairwise(scales)) + convolutions * scales[-1]
    )


def crop_shape(params: TranslatorParams, card: ModelCard, room: Vec3) -> Vec3:
    """A training crop: about a cube in nm, multiples of the network's steps, at most the available extent."""
    shape = []
    for axis, available in enumerate(room):
        step = divisor(card.network)[axis]
        wanted = min(params.crop * card.voxel_nm[1] / card.voxel_nm[axis], params.crop, available)
        shape.append(max(1, int(wanted // step)) * step)
    if any(c > n for c, n in zip(shape, room, strict=True)):
        raise InputError(f"got a training block of {room} voxels; a crop of {tuple(shape)} must fit: use a larger pair")
    return vec3(shape)


def parts(shape: Vec3, halo: Vec3) -> Mapping[str, Box]:
    """Boxes of a pair for training, validation, recalibration and testing, in this order along its longest axis,
    separated
    by the network's field of view.

    Raises
    ------
    InputError
        If the pair is too small.
    """
    axis = max(range(3), key=lambda a: shape[a])
    room = shape[axis] - (len(SHARES) - 1) * halo[axis]
    found, start = {}, 0
    for name, share in SHARES.items():
        size = int(room * share)
        if size < LEAST:
            need = int(LEAST / min(SHARES.values())) + 1 + (len(SHARES) - 1) * halo[axis]
            raise InputError(
                f"the pair of {shape} voxels on the EM's grid is too small for separate parts for validation, "
                f"calibration and test; it must be at least {need} voxels long along one axis: give a larger pair"
            )
        low, high = [0, 0, 0], list(shape)
        low[axis], high[axis] = start, start + size
        found[name] = Box(vec3(low), vec3(high))
        start += size + halo[axis]
    return found


def middle(box: Box, most: int) -> Box:
    """The middle of a box, cut equally on all sides until it holds at most ``most`` voxels."""
    while box.size > most:
        box = box.grow([-max(1, n // 16) if n > 2 * LEAST else 0 for n in box.shape])
    return box
