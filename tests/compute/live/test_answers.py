"""A model's answers for a live view are the same here and on a cluster, to which the model is sent once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from distributed import Client, LocalCluster

from napari_connecto.compute.lazy import Tiles
from napari_connecto.compute.live.answers import Answers
from napari_connecto.core.errors import ChunkError, TooBigError
from napari_connecto.core.model import Normalisation
from napari_connecto.core.volume import Volume
from tests.compute.parts import NM, Chunked, Identity, LocalMean, noise

TILE = (8, 16, 16)


def tiles(array, model):
    model.card = replace(model.card, normalisation=Normalisation("none"))
    volume = Volume.from_array(array, NM)
    return Tiles(volume, volume.levels[0], model)


def test_here_and_on_a_cluster_the_answers_are_those_of_one_by_one():
    """Any number of tiles up to the batch, filled up or not: the bits do not depend on what else was asked for."""
    made = tiles(noise((16, 40, 40)), LocalMean(TILE, (1, 2, 2)))
    right = [made.answers([i])[0]["value"] for i in range(len(made.plan))]
    here = Answers(made, batch=4)
    local = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    with local as cluster, Client(cluster) as client:
        there = Answers(made, batch=4, client=client)
        for indices in ([0], [5, 3], [1, 2, 4, 17]):
            for answers in (here, there):
                for index, found in zip(indices, answers(indices), strict=True):
                    np.testing.assert_array_equal(found["value"], right[index])


def test_a_damaged_chunk_is_an_error_or_skipped_and_the_others_are_there():
    array = Chunked(noise((8, 16, 48)), TILE, broken=[(0, 0, 1)])
    with pytest.raises(ChunkError):
        Answers(tiles(array, Identity(TILE)), batch=3)([0, 1, 2])
    first, damaged, last = Answers(tiles(array, Identity(TILE)), batch=3, on_bad="skip")([0, 1, 2])
    assert damaged is None
    np.testing.assert_array_equal(first["value"], array.data[:, :, :16])
    np.testing.assert_array_equal(last["value"], array.data[:, :, 32:])


def test_a_tile_that_does_not_fit_into_memory_is_one_clear_error():
    class Hungry(Identity):
        def __call__(self, batch, seeds):
            raise MemoryError

    with pytest.raises(TooBigError, match="does not fit"):
        Answers(tiles(noise((8, 16, 16)), Hungry(TILE)))([0])
