"""A law: what models of one volume share is read once, and is what each would have read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_connecto.core.model import Normalisation
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.volume import Volume
from tests.models.cards import UNET_2D


class Counted:
    """An array that counts how often it is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.reads = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        self.reads += 1
        return self.array[index]


def test_models_with_the_same_normalisation_read_the_image_once():
    array = Counted(np.random.default_rng(0).integers(0, 255, (4, 32, 32)).astype(np.uint8))
    volume = Volume.from_array(array, (40, 8, 8))
    same, other = (replace(UNET_2D, normalisation=Normalisation("percentile", low, 99.0)) for low in (1.0, 5.0))
    scalings = Scalings(volume)
    first = scalings.of(same)
    reads = array.reads
    assert reads > 0
    assert scalings.of(replace(same, name="another")) == first
    assert array.reads == reads
    assert scalings.of(other) != first
    assert array.reads == 2 * reads
    assert first == same.normalisation.resolve(volume)
