"""Real viewers need a display with OpenGL; without napari and Qt this folder is not collected at all."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings

import pytest

if any(importlib.util.find_spec(name) is None for name in ("napari", "qtpy", "pytestqt", "magicgui")):
    collect_ignore_glob = ["test_*.py"]
else:
    with warnings.catch_warnings():  # napari's own deprecations while it is imported
        warnings.simplefilter("ignore")
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


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A real viewer, as plugins are given it."""
    return make_napari_viewer_proxy()
