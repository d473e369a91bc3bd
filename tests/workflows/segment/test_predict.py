"""A model over a volume, on its grid, resumable."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, TooBigError, VoxelSizeError
from napari_connecto.core.fitting import fitting_level, voxel_ratio
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.segment.predict import predict, predict_job
from tests.workflows import fakes


def flat_card(voxel_nm):
    return fakes.Blur(voxel_nm, (1, 16, 16), "flat").card


def test_the_map_is_what_the_model_says_of_the_whole_image(tmp_path):
    image = fakes.spots()
    model = fakes.Blur(fakes.NM)
    found = predict(fakes.pyramid(image), model, out=tmp_path / "a")
    np.testing.assert_array_equal(found.levels[0].read(found.levels[0].box), fakes.dense(image))
    assert found.levels[0].voxel_nm == fakes.NM
    assert found.metadata["outputs"] == ["p"]
    assert model.tiles == fakes.grid(image.shape)


def test_an_interrupted_run_goes_on_with_what_is_missing_and_ends_the_same(tmp_path):
    image = fakes.spots()
    volume, model = fakes.pyramid(image), fakes.Blur(fakes.NM)
    job = predict_job(volume, model, out=tmp_path)
    for progress in job:
        if progress.done >= 20:
            break
    job.close()
    kept = next(predict_job(volume, again := fakes.Blur(fakes.NM), out=tmp_path)).done
    assert 20 <= kept < fakes.grid(image.shape)
    found = predict(volume, again, out=tmp_path)
    assert again.tiles == fakes.grid(image.shape) - kept
    np.testing.assert_array_equal(found.levels[0].read(found.levels[0].box), fakes.dense(image))


def test_out_of_memory_leaves_what_is_finished_and_the_next_run_ends_the_same(tmp_path):
    class Hungry(fakes.Blur):
        """Has memory for thirty tiles, then for none."""

        def __call__(self, batch, seeds):
            if self.tiles >= 30:
                raise MemoryError
            return super().__call__(batch, seeds)

    image = fakes.spots()
    volume, again = fakes.pyramid(image), fakes.Blur(fakes.NM)
    with pytest.raises(TooBigError, match="finished parts are saved"):
        predict(volume, Hungry(fakes.NM), out=tmp_path)
    found = predict(volume, again, out=tmp_path)
    assert again.tiles <= fakes.grid(image.shape) - 20
    np.testing.assert_array_equal(found.levels[0].read(found.levels[0].box), fakes.dense(image))


def test_only_the_tiles_of_the_region_are_computed_those_in_view_first(tmp_path):
    image = fakes.spots()
    model = fakes.Blur(fakes.NM)
    boxes = [
        p.payload
        for p in predict_job(
            fakes.pyramid(image), model, region=Box((0, 0, 0), (4, 32, 48)), first=Box((0, 0, 40), (1, 9, 41))
        )
    ]
    assert next(b for b in boxes if b) == Box((0, 0, 32), (4, 16, 48))
    assert model.tiles == 6
    with pytest.raises(InputError, match="must hold voxels of the finest level"):
        predict(fakes.pyramid(image), model, region=Box((0, 90, 0), (4, 99, 9)))


def test_flat_models_match_in_the_plane_only_and_take_the_coarsest_level_that_is_fine_enough():
    volume = fakes.pyramid(np.zeros((8, 64, 64), np.uint8), ((1, 2, 2), (1, 2, 2)))  # 40 nm by 20, 40, 80 nm
    assert fitting_level(volume, flat_card((999.0, 80.0, 80.0))) is volume.levels[2]
    between = fitting_level(volume, flat_card((999.0, 60.0, 60.0)))
    assert between.array.level is volume.levels[1]
    assert between.shape == (8, 21, 21)
    assert between.voxel_nm == (40.0, 60.0, 60.0)
    assert fitting_level(volume, flat_card((1.0, 10.0, 10.0))).shape == (8, 128, 128)
    assert voxel_ratio(volume, flat_card((1.0, 10.0, 10.0))) == 0.5


def test_a_predicted_volume_is_right_on_a_resampled_grid(tmp_path):
    image = np.zeros((2, 64, 64), np.uint8)
    image[:, :, 32:] = 200
    found = predict(Volume.from_array(image, (40, 20, 20)), fakes.Blur((40.0, 40.0, 40.0), (1, 16, 16)))
    row = found.levels[0].read(found.levels[0].box)[0, 16]
    assert row.shape == (32,)
    assert row[:12].max() == 0
    np.testing.assert_array_equal(row[20:], 200)


def test_voxels_far_from_the_models_and_unknown_ones_are_refused():
    volume = Volume.from_array(np.zeros((2, 64, 64), np.uint8), (40, 20, 20))
    with pytest.raises(VoxelSizeError, match="4 times too coarse to 16 times too fine"):
        fitting_level(volume, flat_card((40.0, 400.0, 400.0)))
    unknown = Volume(volume.levels, calibrated=False)
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        fitting_level(unknown, flat_card((40.0, 20.0, 20.0)))
