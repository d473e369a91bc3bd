"""Pictures before and after for the cards of shipped translators: ``python sample_data/make_examples.py [NAME...]``

A piece of the sample "xray-test", which no shipped translator was trained on, is translated; its middle section is kept
beside the translator as ``example.npz``. Run it again after training a translator.
"""

from __future__ import annotations

import sys

import numpy as np

import napari_connecto as nc
from napari_connecto.core.geometry import Box
from napari_connecto.widgets.xray.crops import triplet

SIDE_NM = 640.0
"""Side of the pictures."""
PIECE = Box((8, 8, 8), (24, 40, 40))
"""Of the X-ray, voxels: the picture and what the network sees around it."""


def make(name: str) -> None:
    """Write the pictures of one translator."""
    folder = nc.list_translators()[name]
    level = nc.open_sample("xray-test").levels[0]
    part = nc.Volume.from_array(level.read(PIECE), level.voxel_nm)
    found = nc.translate(part, nc.load_translator(folder, backend="torch"), nc.TranslateParams(uncertainty="single"))
    middle = found.mean.levels[0].to_nm([n / 2 for n in found.mean.levels[0].shape])
    before, after = triplet(tuple(middle), SIDE_NM, [(part, None), (found.mean, (0.0, 1.0))])
    np.savez_compressed(folder / "example.npz", before=before, after=after)


if __name__ == "__main__":
    for name in sys.argv[1:] or nc.list_translators():
        make(name)
