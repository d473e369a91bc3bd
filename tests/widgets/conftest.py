"""Real viewers need a display with OpenGL; without napari and Qt this folder is not collected at all."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings

import pytest


def own_display():
    """Windows of workers side by side would take the keyboard from each other: a display that ends with this worker."""
    told, tell = os.pipe()
    server = f"Xvfb -displayfd {tell} -screen 0 1366x768x24 -nolisten tcp -terminate >/dev/null 2>&1 &"
    subprocess.run(server, shell=True, pass_fds=[tell], check=True)
    os.close(tell)
    with open(told) as number:
        os.environ["DISPLAY"] = f":{number.readline().strip()}"


if "PYTEST_XDIST_WORKER" in os.environ and sys.platform == "linux" and shutil.which("Xvfb"):
    own_display()

if any(importlib.util.find_spec(name) is None for name in ("napari", "qtpy", "pytestqt", "magicgui")):
    collect_ignore_glob = ["test_*.py"]
else:
    with warnings.catch_warnings():  # napari's own deprecations while it is imported
        warnings.simplefilter("ignore")
        import segmentation_models_pytorch  # noqa: F401 - with torch and triton, which crash if Mesa loads its LLVM first
        from napari._qt import qt_main_window  # noqa: F401 - what make_napari_viewer imports

HAS_DISPLAY = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
if not HAS_DISPLAY:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/widgets/" not in item.path.as_posix():
            continue
        # warnings of napari, vispy and their dependencies are not ours to mend
        for module in (
            "napari",
            "vispy",
            "pydantic",
            "npe2",
            "app_model",
            "magicgui",
            "superqt",
            "qtpy",
            "pint",
            "tqdm",
        ):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:::{module}"))
        if item.get_closest_marker("gl") and not HAS_DISPLAY:
            item.add_marker(pytest.mark.skip(reason="needs a display with OpenGL; run under xvfb-run"))


@pytest.fixture(scope="session", autouse=True)
def connected(qapp):
    """To the display from the first test to the last; it ends without a client."""


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """napari collects garbage each time a layer is removed; what is imported by now need not be searched each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def prompt(monkeypatch):
    """Docks ask their jobs more often, estimates start at once and time one pass, and no job steps back for others."""
    monkeypatch.setattr("napari_connecto.widgets.shared.worker.POLL_MS", 10)
    monkeypatch.setattr("napari_connecto.widgets.shared.worker.NICE", 0)
    monkeypatch.setattr("napari_connecto.widgets.shared.estimate_card.PAUSE_MS", 10)
    monkeypatch.setattr("napari_connecto.compute.trial.SLOW_S", 0.0)


@pytest.fixture(autouse=True)
def own_preferences(monkeypatch, tmp_path):
    """What a dock remembers is forgotten after the test, and nothing of the user's is read."""
    monkeypatch.setattr("napari.settings._CFG_PATH", str(tmp_path / "preferences" / "settings.yaml"))
    monkeypatch.setattr("napari.settings._PLUGIN_SETTINGS", {})


@pytest.fixture
def own_viewer(make_napari_viewer_proxy):
    """A real viewer for one test alone, after which napari looks for leaks."""
    return make_napari_viewer_proxy()


@pytest.fixture(scope="module")
def shared_viewer(qapp):
    """What holds the viewer of a module, and looks for leaks after its last test."""
    from tests.widgets.shared_viewer import SharedViewer

    shared = SharedViewer()
    yield shared
    shared.close()


@pytest.fixture
def viewer(shared_viewer, request, monkeypatch):
    """A real viewer, as plugins are given it: empty, but not new. A test that fails takes it along."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    yield shared_viewer.get()
    if getattr(request.node, "rep_call", None) is not None and request.node.rep_call.passed:
        shared_viewer.tidy()
    else:
        shared_viewer.close(check=False)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A library of two domains that learnt next to nothing."""
    from tests import adapt_parts

    return adapt_parts.library(tmp_path_factory.mktemp("library") / "near-and-far", steps=1)


@pytest.fixture(scope="session")
def files(tmp_path_factory, library):
    """An image, its truth, and that library."""
    from tests import adapt_parts

    return *adapt_parts.image_and_truth(tmp_path_factory.mktemp("adapt")), library


@pytest.fixture
def dock(files, viewer, qtbot, monkeypatch, tmp_path):
    """The dock "Adapt to my data" on that image and library, in a real viewer."""
    from napari_connecto.io.volumes.read import open_volume
    from napari_connecto.widgets.adapt import dock as adapt
    from napari_connecto.widgets.adapt import project as adapt_project
    from napari_connecto.widgets.viewer.show import layer_data
    from napari_connecto.workflows.adapt.params import SuggestParams

    monkeypatch.setattr(adapt_project, "output_folder", lambda: tmp_path / "results")
    data, keywords, _ = layer_data(open_volume(files[0]))
    viewer.add_image(data, **keywords)
    widget = adapt.AdaptWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Adapt to my data")
    qtbot.waitUntil(lambda: widget.image.full is not None, timeout=10000)
    widget.choose.use_library(files[2])
    qtbot.waitUntil(lambda: "near" in widget.choose.folders, timeout=10000)
    widget.annotate.form.value = SuggestParams(size=64, pool=12, random_arm=1)
    widget.annotate.count.setValue(3)
    yield widget
    widget.close_jobs()


@pytest.fixture
def opened(dock, qtbot):
    """The dock with three suggestions and the first patch open."""
    from tests.widgets.adapt_steps import settle

    dock.choose.choose("near")
    dock.go_to(2)
    dock.annotate.bar.button.click()
    settle(dock.annotate.bar, qtbot)
    dock.annotate.open()
    qtbot.waitUntil(lambda: dock.annotate.opened is not None, timeout=30000)
    return dock
