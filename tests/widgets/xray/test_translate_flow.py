"""The whole flow in a real viewer: train from a pair, translate, go to the worst place, segment both."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.phantoms import phantom
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.widgets.xray import dock as translate
from napari_connecto.widgets.xray.choose import SIMULATED
from napari_connecto.widgets.xray.layers import MEAN, WORST
from napari_connecto.widgets.xray.segment_layers import NAMES
from napari_connecto.workflows.xray.simulate import simulate_xray
from napari_connecto.workflows.xray.translate import translate as translate_headless
from napari_connecto.workflows.xray.translate_params import TranslatorParams
from napari_connecto.workflows.xray.translator import load_translator

pytestmark = [pytest.mark.gl, pytest.mark.slow]


@pytest.fixture(scope="module")
def files(tmp_path_factory, library):
    folder = tmp_path_factory.mktemp("pair")
    em = phantom("neuropil-isotropic", (60, 60, 180), seed=3).image
    save_volume(em, folder / "em.ome.zarr", levels=1)
    save_volume(simulate_xray(em), folder / "xray.ome.zarr", levels=1)
    return folder / "xray.ome.zarr", folder / "em.ome.zarr", library


@pytest.fixture
def dock(files, viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.setattr(translate, "output_folder", lambda: tmp_path / "results")
    for path, name in zip(files[:2], ("X-ray", "EM"), strict=True):
        data, keywords, _ = layer_data(open_volume(path), name=name)
        viewer.add_image(data, **keywords)
    viewer.layers.selection.active = viewer.layers["X-ray"]
    widget = translate.TranslateWidget(viewer)
    viewer.window.add_dock_widget(widget, name="X-ray to EM")
    qtbot.waitUntil(lambda: widget.image.full is not None, timeout=20000)
    yield widget
    widget.close_jobs()


def wait(bar, qtbot):
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=300_000)
    assert bar.error.label.text() == ""


def whole(layer):
    return np.asarray((layer.data[0] if layer.multiscale else layer.data)[:])


def test_from_the_pair_to_the_segments(dock, files, viewer, qtbot):
    dock.translator.choose_training()
    dock.train.em.setCurrentText("EM")
    dock.train.form.value = TranslatorParams(
        name="small", members=2, steps=400, width=4, depth=2, crop=24, batch=2, device="cpu"
    )
    dock.train.bar.button.click()
    qtbot.waitUntil(lambda: dock.train.stop.isEnabled() or not dock.train.bar.worker.state.busy, timeout=120_000)
    dock.train.bar.button.click()  # killed; finished parts are saved
    qtbot.waitUntil(lambda: not dock.train.bar.worker.state.busy, timeout=5000)
    assert dock.train.bar.button.text() == "Resume"
    out = dock.train.training().out
    assert (out / "job.json").exists()
    dock.train.bar.button.click()
    assert dock.train.training().out == out
    qtbot.waitUntil(lambda: dock.train.stop.isEnabled() or not dock.train.bar.worker.state.busy, timeout=120_000)
    dock.train.stop.click()
    wait(dock.train.bar, qtbot)
    assert dock.translator.folder == out / "translator"
    assert SIMULATED in dock.translator.simulated.text()
    assert dock.translator.simulated.isVisibleTo(dock)
    about = json.loads((out / "translator" / "translator.json").read_text())["about"]
    shown = dict(dock.translator.plot.coverage)
    assert shown == {float(k): v for k, v in about["metrics"]["calibration"]["coverage"].items()}

    qtbot.waitUntil(lambda: dock.card.estimate is not None, timeout=120_000)
    assert dock.card.estimate.shape == (60, 60, 180)
    dock.bar.button.click()
    wait(dock.bar, qtbot)
    again = translate_headless(open_volume(files[0]), load_translator(out / "translator", backend="torch"))
    np.testing.assert_array_equal(whole(viewer.layers[MEAN]), again.mean.levels[0].read(again.mean.levels[0].box))

    dock.trust.step(1)
    region = dock.trust.regions[0]
    seen = np.array([viewer.dims.point[-3], *viewer.scene.camera.center[-2:]])
    assert np.abs(seen - region.centre_nm).max() <= 30
    assert viewer.layers[WORST].nshapes == len(dock.trust.regions)

    dock.segment.model.clear()
    dock.segment._on_listed({"near": files[2] / "near"})
    dock.segment.model.setCurrentText("near")
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.bar.button.click()
    wait(dock.segment.bar, qtbot)
    raw, made = (whole(viewer.layers[name]) for name in NAMES)
    assert (raw.shape[0], made.shape[0]) == (20, 60)  # a flat model leaves sections as they are
    assert raw.any()  # in 3-D, a block this small may be one segment by a model that learnt next to nothing
    assert made.any()
    dock.segment.leave.setChecked(True)
    left = whole(viewer.layers[NAMES[1]])
    np.testing.assert_array_equal(left[left > 0], made[left > 0])
