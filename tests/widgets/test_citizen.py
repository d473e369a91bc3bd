"""At home in napari: preferences that hold, layers that are saved, docks that a keyboard and a small screen reach."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image, Labels, Points
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QSlider,
    QWidget,
)

from napari_connecto.core.errors import InputError
from napari_connecto.core.settings import settings
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.widgets import writers
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.settings import apply_preferences
from tests.widgets.test_plugin import MANIFEST

DOCKS = ("Cascade detection", "Adapt to my data", "X-ray to EM", "Inspect a model")
CONTROLS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)


@pytest.fixture
def preferences(npe2pm, plugin_settings, monkeypatch):
    from napari.settings import get_plugin_settings

    for name in ("DEVICE", "THREADS", "CACHE", "CACHE_GB"):  # set first, so that monkeypatch puts them back
        monkeypatch.setenv(f"NAPARI_CONNECTO_{name}", "")
    monkeypatch.setattr("napari_connecto.widgets.shared.settings._before", {})
    if "napari-connecto" not in npe2pm:
        npe2pm.register(PluginManifest.from_file(MANIFEST))
    return get_plugin_settings("napari-connecto").general


def test_preferences_hold_for_the_library_and_for_what_it_starts(preferences, tmp_path):
    apply_preferences()
    default = settings()
    assert (default.device, default.threads, default.cache_gb) == ("auto", 0, 5.0)
    preferences.device, preferences.threads, preferences.cache_gb = "cpu", 2, 1.5
    preferences.cache = str(tmp_path)
    apply_preferences()
    now = settings()
    assert (now.device, now.threads, now.cache, now.cache_gb) == ("cpu", 2, tmp_path, 1.5)
    assert os.environ["NAPARI_CONNECTO_THREADS"] == "2"
    preferences.device, preferences.threads, preferences.cache_gb, preferences.cache = "auto", 0, 5.0, ""
    apply_preferences()
    assert settings() == default


def test_a_preference_goes_before_the_environment_which_is_back_without_it(preferences, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_THREADS", "3")
    preferences.threads = 1
    apply_preferences()
    assert settings().threads == 1
    preferences.threads = 0
    apply_preferences()
    assert settings().threads == 3


def test_a_job_starts_with_the_preferences(preferences, qtbot):
    from napari_connecto.core.jobs import Progress
    from napari_connecto.widgets.shared.worker import Worker

    def job():
        yield Progress(0, 1)
        return settings().threads

    preferences.threads = 1
    worker = Worker("test", quiet=True)
    with qtbot.waitSignal(worker.returned, timeout=20000) as caught:
        worker.start(job)
    assert caught.args == [1]
    worker.close()


def test_layers_are_saved_in_nm(tmp_path):
    array = np.arange(4 * 6 * 8).reshape(4, 6, 8).astype(np.uint16)
    place = {"scale": (0.04, 0.008, 0.008), "translate": (0.02, 0.004, 0.804), "units": ("um",) * 3}
    for layer, write, kind in (
        (Image(array, **place), writers.write_image, "image"),
        (Labels(array, **place), writers.write_labels, "labels"),
    ):
        data, attributes, _ = layer.as_layer_data_tuple()
        path = str(tmp_path / f"{kind}.ome.zarr")
        assert write(path, data, attributes) == [path]
        volume = open_volume(path)
        np.testing.assert_array_equal(volume.levels[0].array[:], array)
        assert volume.kind == kind
        np.testing.assert_allclose(volume.levels[0].voxel_nm, (40, 8, 8))
        np.testing.assert_allclose(volume.levels[0].origin_nm, (0, 0, 800), atol=1e-9)


def test_labels_are_saved_for_neuroglancer(tmp_path):
    pytest.importorskip("tensorstore")
    layer = Labels(np.ones((4, 6, 8), np.uint8), scale=(40, 8, 8), translate=(20, 4, 4), units=("nm",) * 3)
    data, attributes, _ = layer.as_layer_data_tuple()
    writers.write_labels(str(tmp_path / "a.precomputed"), data, attributes)
    info = json.loads((tmp_path / "a.precomputed" / "info").read_text())
    assert info["scales"][0]["resolution"] == [8, 8, 40]


def test_points_are_saved_in_nm_or_in_voxels(tmp_path):
    layer = Points([[1, 2, 3], [4, 5, 6]], scale=(40, 8, 8), translate=(20, 4, 4), units=("nm",) * 3)
    data, attributes, _ = layer.as_layer_data_tuple()
    writers.write_points(str(tmp_path / "a.csv"), data, attributes)
    assert (tmp_path / "a.csv").read_text() == "z_nm,y_nm,x_nm\n60.0,20.0,28.0\n180.0,44.0,52.0\n"
    writers.write_points(str(tmp_path / "a.xml"), data, attributes)
    assert "<MarkerX>3</MarkerX><MarkerY>2</MarkerY><MarkerZ>1</MarkerZ>" in (tmp_path / "a.xml").read_text()
    data, attributes, _ = Points([[2, 3]], name="mine").as_layer_data_tuple()
    with pytest.raises(InputError, match="the layer 'mine' states no unit of length"):
        writers.write_points(str(tmp_path / "b.csv"), data, attributes)
    writers.write_points(str(tmp_path / "b.xml"), data, attributes)
    assert "<MarkerX>3</MarkerX><MarkerY>2</MarkerY><MarkerZ>0</MarkerZ>" in (tmp_path / "b.xml").read_text()


def test_what_would_freeze_napari_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "MOST_BYTES", 100)
    data, attributes, _ = Image(np.zeros((4, 6, 8))).as_layer_data_tuple()
    with pytest.raises(InputError, match=r"would freeze napari: use `napari-connecto convert`"):
        writers.write_image(str(tmp_path / "a.zarr"), data, attributes)
    assert not list(tmp_path.iterdir())


def controls(dock: QWidget) -> list[QWidget]:
    """What can be worked in a dock: shown, enabled, and no part of another control."""
    found = [w for w in dock.findChildren(QWidget) if isinstance(w, CONTROLS)]
    return [
        w
        for w in found
        if w.isVisibleTo(dock)
        and w.isEnabled()
        and not isinstance(w.parentWidget(), (*CONTROLS, QAbstractScrollArea))
        and w.objectName() != "qt_toolbar_ext_button"
    ]


@pytest.mark.gl
@pytest.mark.parametrize("name", DOCKS)
def test_a_small_screen_and_a_keyboard_reach_everything(name, viewer, qtbot):
    window = viewer.window
    dock, widget = window.add_plugin_dock_widget("napari-connecto", name)
    main = dock.window()
    main.resize(1366, 768)
    main.show()
    main.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is main, timeout=10000)
    assert main.minimumSizeHint().height() <= 768
    assert main.height() <= 768
    if hasattr(widget, "go_to"):
        for step in range(1, 6):
            widget.go_to(step)
            check(widget, qtbot)
    elif hasattr(widget, "tabs"):
        for n in range(widget.tabs.count()):
            widget.tabs.setCurrentIndex(n)
            check(widget, qtbot)
    else:
        check(widget, qtbot)
    widget.close_jobs()


def check(widget, qtbot) -> None:
    """Every control is within the width, has a tooltip, and has the focus once while Tab is pressed."""
    for fold in widget.findChildren(Details):
        fold.unfold()
    qtbot.wait(50)
    wanted = controls(widget)
    assert wanted
    walk, problems = ring(widget), []
    for control in wanted:
        left = control.mapTo(widget, control.rect().topLeft()).x()
        if left < 0 or left + control.width() > widget.width() + 1:
            problems.append(("cut off", name_of(control)))
        if not tooltip(control, widget):
            problems.append(("no tooltip", name_of(control)))
        if control not in walk and not any(child in walk for child in control.findChildren(QWidget)):
            problems.append(("Tab never comes to it", name_of(control)))
    assert problems == []


def ring(widget) -> set[QWidget]:
    """What has the focus while Tab is pressed until it is where it began."""
    first = controls(widget)[0]
    first.setFocus()
    seen: list[QWidget] = []
    for _ in range(300):
        now = QApplication.focusWidget()
        if now is None or (seen and now is seen[0]):
            break
        seen.append(now)
        QTest.keyClick(now, Qt.Key.Key_Tab)
    return {w for one in seen for w in (one, one.focusProxy() or one)}


def tooltip(control: QWidget, dock: QWidget) -> str:
    """Its own, or that of the row it is in."""
    while not control.toolTip() and control.parentWidget() not in (None, dock):
        control = control.parentWidget()
    return control.toolTip()


def name_of(control: QWidget) -> str:
    text = getattr(control, "text", str)() or control.toolTip()
    return f"{type(control).__name__} {text}"


@pytest.mark.gl
def test_a_second_dock_becomes_a_tab_of_the_first(viewer, qtbot):
    """Both keep the whole height, the window stays as high as it was, and the new one is in front."""
    first, one = viewer.window.add_plugin_dock_widget("napari-connecto", DOCKS[0])
    main = first.window()
    main.resize(1366, 768)
    main.show()
    qtbot.wait(50)
    before = main.height()
    second, other = viewer.window.add_plugin_dock_widget("napari-connecto", DOCKS[3])
    qtbot.waitUntil(lambda: main.tabifiedDockWidgets(first) == [second], timeout=5000)
    qtbot.waitUntil(lambda: not other.visibleRegion().isEmpty(), timeout=5000)
    assert one.visibleRegion().isEmpty()
    assert main.height() == before
    first.raise_()
    qtbot.waitUntil(lambda: not one.visibleRegion().isEmpty(), timeout=5000)
    for widget in (one, other):
        widget.close_jobs()


@pytest.mark.gl
def test_of_two_docks_that_are_tabs_the_front_one_takes_the_key_of_live(viewer, qtbot):
    """L switches the dock that is in sight; closing it gives the key back to the other."""
    first, one = viewer.window.add_plugin_dock_widget("napari-connecto", DOCKS[0])
    first.window().show()
    _, other = viewer.window.add_plugin_dock_widget("napari-connecto", DOCKS[1])
    qtbot.waitUntil(lambda: not other.visibleRegion().isEmpty(), timeout=5000)
    pressed = []
    for name, dock in (("one", one), ("other", other)):
        dock.live.toggled.disconnect()
        dock.live.setEnabled(True)  # grey without an image
        dock.live.toggled.connect(lambda _, name=name: pressed.append(name))
    press = lambda: next(act for key, act in viewer.keymap.items() if str(key) == "L")(viewer)  # noqa: E731
    press()
    first.raise_()
    qtbot.waitUntil(lambda: not one.visibleRegion().isEmpty(), timeout=5000)
    press()
    assert pressed == ["other", "one"]
    for widget in (one, other):
        widget.close_jobs()
    assert not [key for key in viewer.keymap if str(key) == "L"]
