"""What the dock begins with on an image: the detector that fits it, what it asks, and what it says before torch."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.volume import Volume
from napari_connecto.sample_data import list_cascades, open_sample
from napari_connecto.widgets.cascade.find.cards import Card, fitting
from napari_connecto.widgets.cascade.jobs import peek
from napari_connecto.workflows.cascade.outlook import outlook
from napari_connecto.workflows.cascade.params import DetectParams

CARDS = {name: Card(peek(folder)) for name, folder in list_cascades().items()}


def of(nm, shape=(64, 512, 512)):
    return Volume.from_array(np.zeros(shape, np.uint8), nm)


@pytest.mark.parametrize(("sample", "detector"), [("cells", "cells"), ("neuropil", "mitochondria")])
def test_a_sample_begins_with_the_cascade_that_was_made_for_it(sample, detector):
    assert fitting(CARDS, open_sample(sample)) == detector


def test_finer_voxels_of_the_same_kind_of_image_are_averaged_and_those_of_another_kind_are_not():
    nm = np.array(CARDS["mitochondria"].about.voxel_nm)
    assert fitting(CARDS, of(nm / 2)) == "mitochondria"
    assert fitting(CARDS, of(nm / 8)) == ""
    assert fitting(CARDS, of(nm * 2)) == ""  # there "cells" could be computed, from voxels 25 times finer


def test_without_a_voxel_size_no_cascade_fits():
    assert fitting(CARDS, replace(open_sample("neuropil"), calibrated=False)) == ""


def test_the_outlook_is_the_estimate_at_the_prices_of_training():
    from napari_connecto.workflows.cascade.cascade import load_cascade
    from napari_connecto.workflows.cascade.estimate import estimate

    volume, folder = open_sample("cells"), list_cascades()["cells"]
    params = DetectParams(audit=0, force_cascade=True)
    soon, told = outlook(volume, folder, params), estimate(volume, load_cascade(folder), params, trial=False)
    assert [level.name for level in soon] == [level.name for level in told.levels]
    np.testing.assert_allclose([x.calls for x in soon], [x.calls for x in told.levels])
    np.testing.assert_allclose([x.share for x in soon], [x.share for x in told.levels])


def test_the_outlook_of_an_exhaustive_search_is_every_chunk_of_one_level():
    (level,) = outlook(open_sample("cells"), list_cascades()["cells"], DetectParams(exhaustive=True))
    assert level.share == 1.0
    assert level.name == "level 0"


def test_an_unknown_voxel_size_is_refused_without_torch():
    with pytest.raises(VoxelSizeError, match="states no voxel size"):
        outlook(replace(open_sample("cells"), calibrated=False), list_cascades()["cells"], DetectParams())


@pytest.mark.slow
def test_the_outlook_loads_no_torch():
    code = (
        "import sys; import napari_connecto.workflows.cascade.outlook as o; "
        "from napari_connecto.sample_data import list_cascades, open_sample; "
        "from napari_connecto.workflows.cascade.params import DetectParams; "
        "assert len(o.outlook(open_sample('cells'), list_cascades()['cells'], DetectParams())) > 1; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def dock(viewer, qtbot, monkeypatch, tmp_path):
    from napari_connecto.widgets.cascade import dock as cascade

    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
    widget = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Cascade detection")
    yield widget
    widget.close_jobs()


def discs():
    """Centres (12, 2) on a grid, and an image of bright discs there."""
    centres = np.array([(40 + 50 * (k // 4), 40 + 50 * (k % 4)) for k in range(12)])
    y, x = np.mgrid[:256, :256]
    near = np.min([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0) <= 6
    return centres, np.where(near, 200, 20).astype(np.uint8)


@pytest.mark.gl
@pytest.mark.slow
def test_on_a_tiff_without_a_voxel_size_one_click_finds_every_object(dock, viewer, qtbot):
    centres, image = discs()
    viewer.add_image(image, name="discs")
    qtbot.waitUntil(lambda: dock.cascade.other.startswith("Blobs"), timeout=60_000)
    qtbot.waitUntil(lambda: dock.cascade.folder is not None, timeout=120_000)
    assert not dock.image.line.isChecked()  # nothing is asked
    dock.finder.form.build()
    assert dock.finder.form._labels["diameter_nm"].text() == "Diameter (pixels)"
    told = [label.text() for label in dock.finder.form.row("contrast").findChildren(QLabel)]
    assert re.fullmatch(r"uses 0\.\d+", told[0])  # a number to begin with, if dim objects are missed
    viewer.reset_view()
    with qtbot.waitSignal(dock.bar.worker.returned, timeout=240_000):
        dock.preview.click()
    points = viewer.layers[dock.results.layers.points.name]
    found = points.data[np.lexsort((points.data[:, 1].round(-1), points.data[:, 0].round(-1)))]
    np.testing.assert_allclose(found, centres, atol=1)


@pytest.mark.gl
def test_nothing_is_asked_or_refused_before_the_detector_to_begin_with_is_known(viewer, qtbot, monkeypatch, tmp_path):
    from napari_connecto.widgets.cascade import dock as cascade

    monkeypatch.setattr(cascade, "output_folder", lambda: tmp_path / "results")
    viewer.add_image(discs()[1], name="discs")
    dock = cascade.CascadeWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Cascade detection")
    seen = []
    dock.cascade.changed.connect(lambda: seen.append((dock.cascade.choosing, dock.image.line.isChecked())))
    qtbot.waitUntil(lambda: dock.cascade.other.startswith("Blobs"), timeout=60_000)
    assert seen[0] == (True, False)
    assert not any(asked for _, asked in seen)
    assert not dock.cascade.choosing
    dock.close_jobs()


@pytest.mark.gl
def test_what_the_user_chose_stays_when_another_image_comes(dock, viewer, qtbot):
    nm = CARDS["mitochondria"].about.voxel_nm
    viewer.add_image(np.zeros((8, 64, 64), np.uint8), scale=nm, units="nm", name="em")
    qtbot.waitUntil(
        lambda: dock.cascade.peeked is not None and dock.cascade.peeked.name == "mitochondria", timeout=60_000
    )
    dock.cascade.cards.picked.emit("cells")
    viewer.add_image(np.zeros((8, 64, 64), np.uint8), scale=nm, units="nm", name="more em")
    dock.image.layers.choose(viewer.layers["more em"])
    qtbot.waitUntil(lambda: dock.image.full is not None and dock.image.full.name == "more em", timeout=30_000)
    assert dock.cascade.peeked.name == "cells"


@pytest.mark.gl
def test_points_follow_the_section_only_until_they_are_released(viewer):
    from napari_connecto.widgets.cascade.depth import InDepth

    viewer.add_image(np.zeros((9, 8, 8), np.uint8))
    points, depth = viewer.add_points([[1, 4, 4], [7, 4, 4]], size=1), InDepth(viewer)
    viewer.dims.set_current_step(0, 1)
    depth.show(points, np.array([True, True]), np.array([2.0, 2.0]))
    assert list(points.shown) == [True, False]
    depth.release()
    assert list(points.shown) == [True, True]
    viewer.dims.set_current_step(0, 4)
    assert list(points.shown) == [True, True]
