"""Simulate an X-ray volume from EM of the same tissue, for training and testing without measured pairs.

The steps are in `physics`, their parameters in `params`; `degrade` matches the style of a real volume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.device import free_memory
from napari_connecto.workflows.shared.degrade import Style, degrade
from napari_connecto.workflows.xray import physics
from napari_connecto.workflows.xray.params import XrayParams

VOXEL_NM = 30.0
"""Default voxel size of a simulated volume: that of fine holographic nano-tomography."""
BYTES = 32
"""Memory per EM voxel during simulation: 28 measured, uint8, plus a margin."""
STEPS = 4


def simulate_xray(
    em: Volume, params: XrayParams | None = None, *, like: Volume | None = None, region: Box | None = None
) -> Volume:
    """Simulate an X-ray volume of the tissue in an EM volume.

    In turn: electron density from intensity, blur and edge-enhancing propagation contrast, mean over X-ray voxels, slow
    background, photon and detector noise, rings and stripes. The page "What is simulated, what is measured" says what
    this leaves out.

    Parameters
    ----------
    em
        (z, y, x) with a voxel size, isotropic or not; its finest level is read.
    params
        Voxel size, dose and more, see `XrayParams`.
    like
        A real X-ray volume with a level within 25 % of the simulated voxel. Blur, noise and histogram of the result are
        matched to it as far as possible, section by section; its noise replaces photon and detector noise. Stain must
        look as ``params.xray_stain`` says in it.
    region
        Part of the EM, in voxels of its finest level. Default: all of it.

    Returns
    -------
    Volume
        "X-ray (simulated from NAME)": one level, in memory, the same voxels for the same arguments. It starts at the
        corner of the EM (or the region); X-ray voxels that would stick out are left out. Of type ``params.dtype``, or
        that of ``like``. ``metadata["simulated"]`` has the parameters, JSON.

    Raises
    ------
    VoxelSizeError
        If a voxel size is not stated, the X-ray voxel is finer than the EM's, or ``like`` has no level near it.
    InputError
        If the EM has channels, values that are not finite or no contrast, or is too large for the memory.

    Examples
    --------
    >>> em = nc.open_sample("xray", "em")
    >>> xray = nc.simulate_xray(em, nc.XrayParams(voxel_nm=(40, 40, 40)), region=nc.Box((0, 0, 0), (64, 64, 64)))
    >>> xray.levels[0].shape, xray.levels[0].voxel_nm
    ((16, 16, 16), (40.0, 40.0, 40.0))
    """
    return run(simulate_xray_job(em, params, like=like, region=region))


def simulate_xray_job(
    em: Volume, params: XrayParams | None = None, *, like: Volume | None = None, region: Box | None = None
) -> Job[Volume]:
    """`simulate_xray` as a job, with a report per step."""
    params = params or XrayParams()
    part = _part(em, region)
    voxel_nm = _voxel(part, params)
    target = None if like is None else _nearest(like, voxel_nm)
    yield Progress(0, STEPS, "density")
    rho = physics.density(part.array, params.em_stain)
    yield Progress(1, STEPS, "blur and propagation")
    rho = physics.transferred(rho, part.voxel_nm, params.fwhm_nm, params.edge_gain, params.edge_length_nm)
    rho = physics.averaged(rho, [x / e for x, e in zip(voxel_nm, part.voxel_nm, strict=True)])
    yield Progress(2, STEPS, "noise and artefacts")
    level = Level(rho, voxel_nm, part.origin_nm)
    level = replace(level, array=_measured(level, params, noisy=target is None))
    yield Progress(3, STEPS, "intensities")
    array = _scaled(level.array, params.dtype) if target is None else _styled(level, target, params.seed)
    yield Progress(STEPS, STEPS, "intensities")
    told = _plain(asdict(params)) | {"voxel_nm": list(voxel_nm), "like": "" if like is None else like.name}
    identity = json.dumps([em.fingerprint(), str(region), told, like and like.fingerprint()])
    revision = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return Volume(
        (replace(level, array=array),),
        name=f"X-ray (simulated from {em.name})",
        metadata={"simulated": told, "simulated_from": em.name, "revision": revision},
    )


def _part(em: Volume, region: Box | None) -> Level:
    """The part of the EM to simulate from, in memory."""
    level = em.levels[0]
    if not em.calibrated:
        raise VoxelSizeError(f"'{em.name}' states no voxel size; give it in nm (voxel_nm=, --voxel-nm Z Y X)")
    if level.channels is not None:
        raise InputError(
            f"'{em.name}' has {level.channels} channels; open the one that is the EM (channel=, --channel N)"
        )
    box = level.box if region is None else region.clip(level.shape)
    if box.size == 0:
        raise InputError(f"got region {region}, outside of '{em.name}' of shape {level.shape}; give one inside")
    need, there = box.size * BYTES, free_memory()
    if need > there:
        raise InputError(
            f"simulating {box.shape} voxels takes {need / 1e9:.1f} GB, but {there / 1e9:.1f} GB are free; give a "
            "smaller region (region=, --region)"
        )
    origin = level.to_nm(box.start)
    return Level(level.read(box), level.voxel_nm, (float(origin[0]), float(origin[1]), float(origin[2])))


def _voxel(em: Level, params: XrayParams) -> FVec3:
    z, y, x = params.voxel_nm or (max(VOXEL_NM, v) for v in em.voxel_nm)
    voxel = (float(z), float(y), float(x))
    if any(new < old * (1 - 1e-6) for new, old in zip(voxel, em.voxel_nm, strict=True)):
        raise VoxelSizeError(
            f"got X-ray voxels of {_nm(voxel)} nm, finer than the EM's {_nm(em.voxel_nm)} nm; give at least those"
        )
    if any(int(n * v / new + 1e-6) < 1 for n, v, new in zip(em.shape, em.voxel_nm, voxel, strict=True)):
        raise InputError(
            f"the EM of {em.shape} voxels is smaller than one X-ray voxel of {_nm(voxel)} nm; give a larger part of it"
        )
    return voxel


def _measured(level: Level, params: XrayParams, noisy: bool) -> np.ndarray:
    """Density with noise and artefacts; each has its own random numbers, independent of the others."""
    slow, counts, ring, stripe = (np.random.default_rng([params.seed, k]) for k in range(4))
    rho = level.array if params.contrast == 1 else np.maximum(level.array, 0) ** params.contrast
    rho = rho + params.background * physics.background(level.shape, slow)
    if noisy and params.photons > 0:
        clean, rho = rho, physics.counted(rho, params.photons, params.absorption, params.readout, counts)
        rho = clean + physics.correlated(rho - clean, params.noise_fwhm) if params.noise_fwhm > 0 else rho
    axis = np.array(level.shape[1:]) / 2
    if params.ring_axis_nm is not None:
        axis = level.to_voxels([0.0, *params.ring_axis_nm])[1:]
    rho = (
        rho
        + params.rings * physics.rings(level.shape, axis, ring)
        + params.stripes * physics.stripes(level.shape, stripe)
    )
    return (-rho if params.xray_stain == "dark" else rho).astype(np.float32)


def _scaled(values: np.ndarray, dtype: str) -> np.ndarray:
    low, high = np.percentile(values, (0.1, 99.9))
    top = np.iinfo(dtype).max
    return np.rint(np.clip((values - low) / max(high - low, 1e-12), 0, 1) * top).astype(dtype)


def _styled(level: Level, target: Level, seed: int) -> np.ndarray:
    """In the target's intensities and type; styles of both from windows of one size."""
    size = min(128, *level.shape[1:], *target.shape[1:])
    source, wanted = (Style.of_level(part, size=size, seed=seed) for part in (level, target))
    values = degrade(level.array, source, wanted, seed)
    if target.dtype.kind not in "iu":
        return values
    allowed = np.iinfo(target.dtype)
    return np.clip(np.rint(values), allowed.min, allowed.max).astype(target.dtype)


def _nearest(like: Volume, voxel_nm: FVec3) -> Level:
    """The target's nearest level, resampled to exactly this voxel size."""
    try:
        level = like.level_at(voxel_nm)
    except VoxelSizeError as error:
        raise VoxelSizeError(f"cannot take the style of '{like.name}': {error}") from error
    if level.channels is not None:
        raise InputError(f"'{like.name}' has {level.channels} channels; open the one that is the X-ray (channel=)")
    return resampled(level, voxel_nm)


def _nm(voxel_nm: FVec3) -> str:
    return " x ".join(f"{v:g}" for v in voxel_nm)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
