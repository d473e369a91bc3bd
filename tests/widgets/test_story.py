"""The first hour of somebody with a TIFF of nuclei: open it, paint twenty, train, stop early, run, review, export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from napari._app_model import get_app_model
from qtpy.QtCore import Qt
from scipy.spatial import cKDTree
from scipy.special import expit

from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets.cascade import dock as cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, REJECTED

pytestmark = [pytest.mark.gl, pytest.mark.slow]

PAINTED, MISSED = 20, 2
"""Nuclei that the user paints, and overlooks."""
NEW_LABELS = "napari.window.file.new_layer.new_labels"


def nuclei(shape: tuple[int, ...], radius: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blurred bright balls on noise, uint16, and their centres in voxels (n, ndim), corner at 0; no two touch."""
    rng = np.random.default_rng(seed)
    edge = np.minimum(radius, np.array(shape) / 4)
    centres = np.empty((0, len(shape)))
    while len(centres) < PAINTED + MISSED:
        place = rng.uniform(edge, np.array(shape) - edge)
        if not len(centres) or np.linalg.norm(centres - place, axis=1).min() > 2.5 * radius:
            centres = np.vstack([centres, place])
    image = rng.normal(400, 40, shape)
    grid = np.moveaxis(np.indices(shape), 0, -1) + 0.5
    for centre in centres:
        away = np.linalg.norm(grid - centre, axis=-1)
        image += 900 * rng.uniform(0.7, 1.3) * expit((radius - away) / 0.8)
    return image.clip(0, 65535).astype(np.uint16), centres


def paint(labels: Any, centres: np.ndarray, radius: float) -> None:
    """One dab of the brush on each nucleus, each with a label of its own."""
    labels.brush_size, labels.n_edit_dimensions = 2 * radius, labels.ndim
    for n, centre in enumerate(centres, 1):
        labels.paint(np.floor(centre), n)


def give_size(dock: Any, qtbot: Any, voxel_nm: int | None) -> None:
    """Type a voxel size, or say that it is not known."""
    if voxel_nm is None:
        dock.image.use_pixels.click()
        return
    for box in dock.image.voxel.boxes:
        box.setFocus()
        box.selectAll()
        qtbot.keyClicks(box, str(voxel_nm))
        qtbot.keyClick(box, Qt.Key.Key_Return)


@pytest.mark.parametrize(
    ("shape", "radius", "voxel_nm"),
    [((448, 512), 9.0, None), ((32, 160, 192), 6.0, 500)],
    ids=["2d, in pixels", "3d"],
)
def test_from_a_tiff_to_a_table(make_napari_viewer_proxy, qtbot, monkeypatch, tmp_path, shape, radius, voxel_nm):
    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
    image, centres = nuclei(shape, radius, seed=len(shape))
    tifffile.imwrite(tmp_path / "nuclei.tif", image)

    viewer = make_napari_viewer_proxy()
    (layer,) = viewer.open(tmp_path / "nuclei.tif", plugin="napari")
    dock = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Cascade detection")
    qtbot.waitUntil(lambda: dock.cascade.folder is not None and dock.image.full is not None, timeout=20_000)
    dock.cascade.choose_training()
    give_size(dock, qtbot, voxel_nm)
    assert list(layer.scale) == [voxel_nm or 1] * len(shape)

    get_app_model().commands.execute_command(NEW_LABELS).result()
    labels = viewer.layers[-1]
    assert labels.data.shape == image.shape
    paint(labels, centres[:PAINTED], radius)
    dock.train.labels.setCurrentText(labels.name)

    steps: list[int] = []
    dock.train.bar.worker.reported.connect(lambda progress, _: steps.append(progress.done))
    dock.train.form.change(name="nuclei", steps=100_000)
    qtbot.mouseClick(dock.train.bar.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.train.bar.stop.isEnabled() and steps[-1] > 200, timeout=240_000)
    with qtbot.waitSignal(dock.train.trained, timeout=240_000):
        qtbot.mouseClick(dock.train.bar.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=120_000)
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        qtbot.mouseClick(dock.bar.button, Qt.MouseButton.LeftButton)

    points = viewer.layers[dock.results.layers.points.name]
    place = np.array([points.data_to_world(p) for p in points.data])[:, -len(shape) :] / layer.scale + 0.5
    truth = cKDTree(centres)
    away, nearest = truth.query(place)
    assert len(set(nearest[away < radius])) >= 0.9 * len(centres)  # the two that were overlooked, too
    assert (away < radius).mean() >= 0.9

    dock.results.step(1)
    for status in (ACCEPTED, ACCEPTED, REJECTED):
        dock.results.judge(status)
    for name in ("nuclei.csv", "nuclei.zarr"):
        with qtbot.waitSignal(dock.results.exporter.written, timeout=60_000):
            dock.results.exporter.export(dock.results.review, tmp_path / name)
    table, found = Detections.load(tmp_path / "nuclei.csv"), dock.results.review.found
    assert len(table) == len(found) - 1
    assert (table.status == ACCEPTED).sum() == 2
    masks = open_volume(tmp_path / "nuclei.zarr").levels[0]
    assert masks.shape == ((1, *shape) if len(shape) == 2 else shape)
    at = np.floor(masks.to_voxels(table.centre_nm)).astype(int)
    np.testing.assert_array_equal(np.asarray(masks.array)[tuple(at.T)], table.id)
    dock.close_jobs()
