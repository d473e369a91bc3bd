"""One real viewer for the tests of a module, emptied after each of them."""

from __future__ import annotations

import gc
import weakref
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from app_model import Application
from napari import Viewer
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_viewer import QtViewer
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication, QWidget

APP = "connecto_tests"


class SharedViewer:
    """Opens, empties and closes a viewer under the patches of napari's own `make_napari_viewer`.

    What that fixture guards is guarded here when the module ends: the viewer is closed, and nothing may hold it.
    """

    def __init__(self) -> None:
        self._viewer: Any = None
        self._qt_viewer: Any = None
        self._patches = ExitStack()

    def get(self) -> Any:
        """The viewer as plugins are given it, without layers and docks."""
        if self._viewer is None:
            self._open()
        return PublicOnlyProxy(self._viewer)

    def tidy(self) -> None:
        """Remove and delete every dock, layer, key and setting that a test added."""
        window = self._viewer.window
        for dock in list(window.dock_widgets.values()):
            window.remove_dock_widget(dock)
        for widget in QApplication.topLevelWidgets():
            if _of_a_test(widget):
                widget.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        self._viewer.layers.clear()
        self._viewer.keymap.clear()
        self._viewer.dims.ndisplay = 2
        window._qt_window.hide()
        window._qt_window.resize(*self._size)
        get_settings().reset()
        gc.collect()

    def close(self, *, check: bool = True) -> None:
        """Close the viewer for good, and ``check`` that nothing keeps it alive."""
        if self._viewer is None:
            return
        with self._patches, patch.object(self._viewer.window._qt_window, "_save_current_window_settings"):
            self._viewer.close()
        self._viewer = None
        Application.destroy(APP)
        _forget_actions()
        gc.collect()
        assert not check or self._qt_viewer() is None, "something holds the viewer that was closed"

    def _open(self) -> None:
        app = NapariApplication(APP)
        app.injection_store.namespace = _napari_names
        for mocked in (
            patch.object(NapariApplication, "get_app_model", return_value=app),
            patch("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None),
            patch("napari._qt.qt_viewer.QtViewer._get_console", lambda *_: None),
        ):
            self._patches.enter_context(mocked)
        _forget_actions()
        get_settings().reset()
        self._viewer = Viewer(show=False, show_welcome_screen=False)
        qt_viewer, size = self._viewer.window._qt_viewer, self._viewer.window._qt_window.size()
        self._qt_viewer, self._size = weakref.ref(qt_viewer), (size.width(), size.height())
        QtViewer._instances.discard(qt_viewer)  # napari's own fixture wants no other viewer


def _forget_actions() -> None:
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()


def _of_a_test(widget: QWidget) -> bool:
    return type(widget).__module__.startswith(("napari_connecto.", "tests."))
