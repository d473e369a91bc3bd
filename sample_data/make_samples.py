"""Make the synthetic volumes that ship, with their truths: ``python sample_data/make_samples.py``.

Deterministic: the same numbers every time. About a minute. Needs napari-connecto installed, nothing else.
"""

from __future__ import annotations

from pathlib import Path

import napari_connecto as nc

SEEDS = {"cells": 1, "neuropil": 2}
PAIRS = {"xray": ((192, 162, 162), 11), "xray-test": ((96, 162, 162), 12)}
"""Shape of the EM and seed."""
LEVELS = 3


def main(folder: Path) -> None:
    """Write ``NAME.ome.zarr`` and ``NAME_TRUTH.ome.zarr`` (of pairs, the EM as well) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        made = nc.phantom(name, seed=seed)
        nc.save_volume(made.image, folder / f"{name}.ome.zarr", levels=LEVELS, overwrite=True)
        for truth, labels in made.truth.items():
            nc.save_volume(labels, folder / f"{name}_{truth}.ome.zarr", levels=LEVELS, overwrite=True)
    for name, (shape, seed) in PAIRS.items():
        made = nc.phantom("neuropil-isotropic", shape, seed)
        xray = nc.simulate_xray(made.image, nc.XrayParams(seed=seed))
        parts = {"": xray, "_em": made.image, "_neurons": made.truth["neurons"]}
        for part, volume in parts.items():
            nc.save_volume(volume, folder / f"{name}{part}.ome.zarr", levels=1, overwrite=True)


if __name__ == "__main__":
    main(Path(__file__).parent / "shipped")
