"""Text that means something is legible in every theme, and follows it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("napari")

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

from napari_connecto import widgets
from napari_connecto.core.errors import InputError
from napari_connecto.widgets.shared.frame import theme
from napari_connecto.widgets.shared.frame.theme import ON_DARK, ON_LIGHT
from napari_connecto.widgets.shared.job_bar import JobBar

LEGIBLE = 4.5
"""WCAG 2, level AA, for text of ordinary size."""


def luminance(colour: str) -> float:
    parts = [QColor(colour).redF(), QColor(colour).greenF(), QColor(colour).blueF()]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_as_wcag_defines_it():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("theme", "colours"), [("dark", ON_DARK), ("light", ON_LIGHT)])
def test_coloured_text_is_legible(theme, colours):
    found = get_theme(theme)
    for (meaning, colour), ground in product(colours.items(), (found.background, found.foreground)):
        assert contrast(colour, ground.as_hex("long")) >= LEGIBLE, (meaning, colour, ground)


def test_colours_of_text_have_one_home():
    home = Path(theme.__file__)
    for path in Path(widgets.__file__).parent.rglob("*.py"):
        if path != home:
            set_there = re.findall(r"setStyleSheet\(.*\bcolor:.*", path.read_text(encoding="utf-8"))
            assert not set_there, f"{path.name}: {set_there}; use colour_text"


@pytest.mark.gl
def test_an_error_follows_the_theme(viewer, qtbot):
    bar = JobBar("test", "Run", "Run it")
    viewer.window.add_dock_widget(bar, name="bar")
    bar.error.show_error(InputError("got nothing; give something"))
    for name, colours in (("light", ON_LIGHT), ("dark", ON_DARK), ("light", ON_LIGHT)):
        viewer.theme = name
        qtbot.waitUntil(lambda c=colours: c["error"] in bar.error.label.styleSheet(), timeout=2000)
        shown = bar.error.label.palette().color(bar.error.label.foregroundRole()).name()
        assert shown.lower() == colours["error"].lower()
