"""What the alignment of X-ray and EM survives: ``python benchmarks/registration.py``.

X-ray is simulated from real EM (fly medulla), then deformed by a known map; EM drifts or loses sections. The error is
that of the recovered map at the worst corner of the EM.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from _em_data import flyem
from scipy.spatial.transform import Rotation

import napari_connecto as nc
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.xray.align import Masked, sampled

SIDE = 124
EM_NM = 10.0
AXIS = (1.0, -0.6, 0.5)
"""Of rotations, (z, y, x): none of the grid's own."""


def bent(volume: Volume, affine: np.ndarray) -> Volume:
    """The volume as it looks where ``affine`` would lay it back in place; NaN where nothing was seen."""
    level = volume.levels[0]
    seen = sampled(Masked.of(level), level, np.linalg.inv(affine))
    values = np.where(seen.valid, np.asarray(seen.level.array, np.float32), np.nan)
    return replace(volume, levels=(replace(level, array=values),))


def around(degrees: float, scale: float, move: tuple[float, float, float] = (40.0, -30.0, 20.0)) -> np.ndarray:
    """A turn around `AXIS` and a scale, both about the middle, then a shift in nm."""
    centre = np.full(3, SIDE * EM_NM / 2)
    affine = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array(AXIS) / np.linalg.norm(AXIS)).as_matrix()
    affine[:3, :3] = turn * scale
    affine[:3, 3] = centre + move - affine[:3, :3] @ centre
    return affine


def without(em: Volume, share: float) -> Volume:
    """EM whose sections are missing at random, runs of one to three; they hold zeros."""
    rng, array = np.random.default_rng(0), np.array(em.levels[0].array)
    missing = np.zeros(len(array), bool)
    while missing.mean() < share:
        at = int(rng.integers(len(array)))
        missing[at : at + int(rng.integers(1, 4))] = True
    array[missing] = 0
    return replace(em, levels=(replace(em.levels[0], array=array),))


def drifting(em: Volume) -> Volume:
    """EM that loses half of its contrast from the first section to the last, and is brighter by half of its range."""
    array = np.asarray(em.levels[0].array, np.float32)
    along = np.linspace(0, 1, len(array), dtype=np.float32)[:, None, None]
    return replace(em, levels=(replace(em.levels[0], array=array * (1 - 0.5 * along) + 128 * along),))


def same(em: Volume) -> Volume:
    """As it is."""
    return em


CASES: dict[str, tuple[np.ndarray, Callable[[Volume], Volume]]] = {
    "shift alone": (around(0, 1), same),
    "shrinkage by 5 %": (around(0, 0.95), same),
    "shrinkage by 8 %": (around(0, 0.92), same),
    "rotation by 3 degrees": (around(3, 1), same),
    "rotation by 5 degrees": (around(5, 1), same),
    "20 % of EM sections missing": (around(0, 1), lambda em: without(em, 0.2)),
    "40 % of EM sections missing": (around(0, 1), lambda em: without(em, 0.4)),
    "drift of brightness and contrast along z": (around(0, 1), drifting),
    "5 %, 3 degrees, 20 % missing and drift": (around(3, 0.95), lambda em: without(drifting(em), 0.2)),
}


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    asked = parser.parse_args()
    image = flyem("train")[0][:SIDE, :SIDE, :SIDE]
    em = Volume.from_array(image, (EM_NM,) * 3, name="fly medulla")
    xray = nc.simulate_xray(em)
    print("| what was done | error at the worst corner | median residual | result |\n|---|---|---|---|")
    for name, (affine, spoil) in CASES.items():
        if asked.only in name:
            print(f"| {name} | {survived(bent(xray, affine), spoil(em), affine)} |", flush=True)


def survived(xray: Volume, em: Volume, affine: np.ndarray) -> str:
    """Error and residual of a pair, or why it was refused."""
    try:
        pair = nc.pair_volumes(xray, em, nc.PairParams(most_bad=0.6))
    except ConnectoError as error:
        return f"- | - | refused: {error}"
    corners = np.array(list(np.ndindex(2, 2, 2))) * SIDE * EM_NM
    found = np.hstack([corners, np.ones((8, 1))]) @ np.linalg.inv(affine).T @ pair.affine.T
    error = float(np.linalg.norm(found[:, :3] - corners, axis=1).max())
    return f"{error:.1f} nm | {np.median(pair.off_nm):.1f} nm | aligned, correlation {pair.correlation:.2f}"


if __name__ == "__main__":
    main()
