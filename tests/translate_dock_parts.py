"""A small saved pair of volumes, and a saved translator that nobody trained: for tests of the dock "X-ray to EM"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.xray.metrics import measured
from napari_connecto.workflows.xray.training.pair_samples import Scene
from tests.translate_parts import EM_NM, XRAY_NM, texture, untrained


def pair(folder: Path, shape: tuple[int, int, int] = (48, 48, 160)) -> tuple[Path, Path]:
    """Saved X-ray (blocks of 2 averaged) and EM of the same tissue."""
    em = texture(shape)
    z, y, x = (n // 2 for n in shape)
    xray = em.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5)).astype(np.uint8)
    paths = folder / "xray.ome.zarr", folder / "em.ome.zarr"
    save_volume(Volume.from_array(xray, XRAY_NM, name="xray"), paths[0], levels=1)
    save_volume(Volume.from_array(em, EM_NM, name="em"), paths[1], levels=1)
    return paths


def translator(folder: Path, *, simulated: bool = True) -> Path:
    """Two untrained members, measured on noise: all that a dock shows of a translator is there."""
    about = {"xray": "xray", "em": "em", "simulated": {"photons": 2000.0} if simulated else None}
    made = untrained(recalibrated=0.5, tile=(48, 48, 96), **about)
    rng = np.random.default_rng(0)
    noise = Scene(*(rng.random((16, 32, 32), np.float32) for _ in range(2)), np.ones((16, 32, 32), bool))
    replace(made, about={**made.about, "metrics": measured(made, noise, noise)}).save(folder)
    return folder
