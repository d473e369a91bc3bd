"""Layers become volumes and results land where they belong, without a viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

import dask.array as da
from napari.layers import Image, Labels, Points

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import describe, grid_factor, nm_per_unit
from napari_connecto.widgets.viewer.lazy import Relabelled
from napari_connecto.widgets.viewer.show import (
    layer_data,
    placed_at,
    placed_on,
    store_layer,
    to_data,
    to_nm,
)
from napari_connecto.widgets.viewer.volumes import identity

RAMP = np.arange(8 * 20 * 20, dtype=np.uint16).reshape(8, 20, 20)


def pyramid(**keywords):
    return Image([RAMP, RAMP[:, ::2, ::2]], multiscale=True, contrast_limits=(0, 3200), **keywords)


def test_multiscale_layer_has_every_level_with_its_voxel_size_and_corner():
    volume = describe(pyramid(scale=(0.05, 0.004, 0.004), translate=(1, 2, 3), units="um", name="em")).volume()
    assert volume.calibrated
    assert [level.shape for level in volume.levels] == [(8, 20, 20), (8, 10, 10)]
    np.testing.assert_allclose(volume.levels[0].voxel_nm, (50, 4, 4))
    np.testing.assert_allclose(volume.levels[1].voxel_nm, (50, 8, 8))
    np.testing.assert_allclose(volume.levels[0].origin_nm, (1000 - 25, 2000 - 2, 3000 - 2))
    np.testing.assert_array_equal(volume.levels[1].read(Box((1, 2, 3), (2, 4, 6))), RAMP[:, ::2, ::2][1:2, 2:4, 3:6])


def test_pixels_are_no_length_and_a_given_voxel_size_is_believed():
    layer = pyramid(scale=(5, 1, 1))
    assert nm_per_unit(layer) is None
    assert not describe(layer).volume().calibrated
    given = describe(layer, voxel_nm=(40, 8, 8)).volume()
    assert given.calibrated
    assert given.levels[1].voxel_nm == (40, 16, 16)


@pytest.mark.parametrize(
    ("fine", "coarse", "factor"), [(20, 10, 2), (101, 51, 2), (101, 50, 2), (8, 8, 1), (1000, 333, 3)]
)
def test_factor_between_levels_is_the_whole_number_that_explains_them(fine, coarse, factor):
    assert grid_factor(fine, coarse) == factor


def test_axes_before_z_are_taken_at_the_current_step():
    stack = np.stack([RAMP, RAMP + 1])[:, None]
    layer = Image(
        stack, scale=(1, 1, 50, 4, 4), units=("s", "pixel", "nm", "nm", "nm"), axis_labels=("t", "c", "z", "y", "x")
    )
    described = describe(layer, step=(1, 0, 4, 9, 9))
    assert described.picks == {"time": 1, "channel": 0}
    level = described.volume().levels[0]
    assert level.shape == (8, 20, 20)
    np.testing.assert_array_equal(level.read(level.box), RAMP + 1)


def test_flat_and_rgb_layers_get_a_z_axis_and_channels():
    rgb = np.zeros((6, 7, 3), np.uint8)
    rgb[..., 1] = 9
    level = describe(Image(rgb, rgb=True), voxel_nm=(1, 2, 2)).volume().levels[0]
    assert (level.channels, level.shape) == (3, (1, 6, 7))
    assert level.read(Box((0, 1, 1), (1, 2, 3))).tolist() == [[[[0, 0]]], [[[9, 9]]], [[[0, 0]]]]


def test_dask_layer_states_its_chunks_and_stays_lazy():
    def fail(block):
        raise AssertionError("computed")

    lazy = da.zeros((8, 20, 20), chunks=(4, 10, 20), dtype=np.uint8).map_blocks(
        fail, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )
    layer = Image(
        [lazy, lazy[::2, ::2, ::2].rechunk((4, 5, 10))], contrast_limits=(0, 1), multiscale=True, visible=False
    )
    assert describe(layer).volume().levels[0].array.chunks == (4, 10, 20)


def test_layers_in_memory_get_folders_of_their_own_and_nothing_is_read(monkeypatch):
    monkeypatch.setattr(Volume, "content", property(lambda _: pytest.fail("voxels were read")))
    one, other = np.zeros((2, 3, 8, 16, 16), np.uint8)

    def question(data, step=(0, 0, 0, 0), **keywords):
        layer = Image(data, units="nm", contrast_limits=(0, 1), **keywords)
        return identity(describe(layer, step=step).volume())

    first = question(one)
    assert question(one) == first
    for another in (question(other), question(one, step=(1, 0, 0, 0)), question(one, name="b")):
        assert another != first


def test_a_layer_placed_by_its_affine_is_where_napari_shows_it():
    """As napari-ome-zarr places what it opens."""
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = 100, 20, 30
    layer = Image(np.zeros((4, 8, 8), "u1"), scale=(10, 4, 5), translate=(1, 2, 3), affine=affine, units="nm")
    level = describe(layer).volume().levels[0]
    assert level.voxel_nm == (20, 4, 5)
    np.testing.assert_allclose(level.to_nm([[1.5, 2.5, 3.5]]), [layer.data_to_world((1, 2, 3))])
    points = Points([[1, 2, 3]], **placed_on(layer))
    np.testing.assert_allclose(points.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))
    same = Image(np.zeros((4, 8, 8), "u1"), **placed_at(level, layer, level))
    np.testing.assert_allclose(same.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))


def test_rotated_layer_is_refused():
    with pytest.raises(InputError, match="rotated, sheared or 1-D"):
        describe(Image(RAMP, rotate=(10, 0, 0)))


def test_points_come_back_from_another_unit_and_place():
    image = pyramid(scale=(50, 4, 4), translate=(100, 0, 8), units="nm")
    level = describe(image).volume().levels[0]
    centre_nm = np.array([[75 + 125.0, 10.0, 14.0]])
    np.testing.assert_allclose(to_data(centre_nm, level, 3), [[2.0, 2.5, 1.5]])
    same_grid = Points(to_data(centre_nm, level, 3), **placed_on(image))
    np.testing.assert_allclose(to_nm(same_grid.data, same_grid, image, level), centre_nm)
    foreign = Points(np.array([[0.2, 0.01, 0.014]]), units="um")
    np.testing.assert_allclose(to_nm(foreign.data, foreign, image, level), centre_nm)


def test_points_on_a_flat_image_lie_in_its_only_section():
    image = Image(np.zeros((30, 30)), scale=(4, 4), units="nm")
    level = describe(image).volume().levels[0]
    data = to_data(np.array([[0.0, 10.0, 20.0]]), level, 2)
    assert data.shape == (1, 2)
    points = Points(data, **placed_on(image))
    np.testing.assert_allclose(to_nm(points.data, points, image, level)[0, 1:], (10, 20))


def test_result_store_on_a_coarser_grid_covers_the_image():
    image = pyramid(scale=(50, 4, 4), translate=(100, 0, 8), units="nm")
    level = describe(image).volume().levels[0]
    coarse = Volume((Level(np.ones((8, 10, 10), np.uint32), (50, 8, 8), level.origin_nm),), kind="labels")
    arrays, keywords = store_layer(coarse, image, level)
    labels = Labels(arrays[0], **keywords)
    np.testing.assert_allclose(labels.extent.world, image.extent.world, atol=4)
    for corner in ((0, 0, 0), (8, 10, 10)):  # voxel corners, in the world
        np.testing.assert_allclose(
            np.array(labels.data_to_world(np.array(corner) - 0.5)),
            level.to_nm(level.to_voxels(coarse.levels[0].to_nm(corner))),
        )


def test_volume_as_layer_and_back():
    levels = (Level(RAMP, (50, 4, 4), (975, -2, 8)), Level(RAMP[:, ::2, ::2], (50, 8, 8), (975, -2, 8)))
    data, keywords, kind = layer_data(Volume(levels, name="em"))
    layer = Image(data, **keywords)
    assert (kind, layer.multiscale, layer.name) == ("image", True, "em")
    again = describe(layer).volume()
    assert [level.voxel_nm for level in again.levels] == [(50, 4, 4), (50, 8, 8)]
    assert again.levels[0].origin_nm == (975, -2, 8)


def test_relabelled_hides_ids_without_touching_the_store():
    store = np.array([[[0, 1, 2, 3]]], np.uint32)
    seen = Relabelled(store, np.array([0, 1, 0, 3], np.uint32))
    assert seen[0].tolist() == [[0, 1, 0, 3]]
    seen.table = np.array([0, 0, 2, 0], np.uint32)
    assert seen[:, 0, 1:].tolist() == [[0, 2, 0]]
    assert store.tolist() == [[[0, 1, 2, 3]]]


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_read_where_it_is_indexed_is_shown_as_a_pyramid(ndim):
    """napari makes an array of the coarsest level; a class without one of its own gave an array without axes."""
    grids = [np.arange(n**3, dtype=np.uint32).reshape((n,) * 3)[: 1 if ndim == 2 else n] for n in (8, 4)]
    volume = Volume(tuple(Level(grid, (8.0 / len(grid[0]),) * 3) for grid in grids), kind="labels")
    image = Image(np.zeros((8,) * ndim, np.uint8))
    arrays, keywords = store_layer(volume, image, volume.levels[0])
    table = np.arange(600, dtype=np.uint32)[::-1].copy()
    shown = Labels([Relabelled(array, table) for array in arrays], **keywords)
    assert shown.ndim == ndim
    for level, grid in zip(shown.data, grids, strict=True):
        np.testing.assert_array_equal(np.asarray(level), table[grid[0] if ndim == 2 else grid])


def test_colours_are_read_together_or_one_by_one_and_opacity_never(tmp_path, qtbot):
    from napari.components import ViewerModel

    from napari_connecto.core.jobs import run
    from napari_connecto.widgets.shared.frame.image import InputBox
    from napari_connecto.widgets.viewer.volumes import as_file_job
    from napari_connecto.workflows.shared.spec import open_spec

    rgba = np.arange(5 * 6 * 4, dtype=np.uint8).reshape(5, 6, 4)
    viewer = ViewerModel()
    viewer.add_image(rgba, rgb=True, scale=(8, 8), units="nm")
    box, other = InputBox(viewer), InputBox(viewer)
    for one in (box, other):
        qtbot.addWidget(one)
        one.layers.chosen.emit()
        one.settle()
        assert not one.channel.isHidden()
    volume = box.need_volume()
    assert volume.levels[0].channels == 3
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box)[:, 0], np.moveaxis(rgba[..., :3], -1, 0))
    written = open_spec(run(as_file_job(volume, None, tmp_path / "rgb.zarr"))).levels[0]
    np.testing.assert_array_equal(written.read(written.box), volume.levels[0].read(volume.levels[0].box))
    box.channel.setCurrentText("Green")
    box.settle()
    green = box.need_volume().levels[0]
    assert green.channels is None
    np.testing.assert_array_equal(green.read(green.box)[0], rgba[..., 1])
    assert identity(box.need_volume()) != identity(volume)
    other.layers.chosen.emit()
    assert other.channel.currentText() == "Green"
    for one in (box, other):
        one.close_jobs()
