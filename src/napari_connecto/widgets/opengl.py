"""Qt and OpenGL versions as one line of JSON, for ``napari-connecto doctor``."""

from __future__ import annotations

import json
import os
from typing import Any


def main() -> None:
    """Create an application and an OpenGL context, query and print."""
    import qtpy
    from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    app = QGuiApplication([])
    screen = app.primaryScreen()
    told = {
        "qt": f"{qtpy.API_NAME} {qtpy.QT_VERSION}, platform {app.platformName()}",
        "screen": _described(screen) if screen is not None else "none",
        "display": os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "not named",
    }
    context, surface = QOpenGLContext(), QOffscreenSurface()
    surface.create()
    if context.create() and context.makeCurrent(surface):
        told |= {"opengl": _string(0x1F02), "renderer": _string(0x1F01)}
    else:
        told["problem"] = "OpenGL gives no context, so napari cannot draw; install a graphics driver, or Mesa"
    print(json.dumps(told))


def _described(screen: Any) -> str:
    return f"{screen.size().width()} x {screen.size().height()}, scaled {screen.devicePixelRatio():g}"


def _string(name: int) -> str:
    """glGetString through vispy, which napari draws with."""
    from vispy.gloo import gl

    return str(gl.glGetParameter(name))


if __name__ == "__main__":
    main()
