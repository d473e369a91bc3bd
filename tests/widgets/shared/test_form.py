"""A params dataclass survives the form."""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import get_args, get_origin, get_type_hints

import pytest

pytest.importorskip("qtpy")

from qtpy.QtWidgets import QApplication, QLabel

from napari_connecto.core.errors import InputError
from napari_connecto.core.params import check, param
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.workflows.cascade.results.params import FieldParams
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.leaves import bare, params_kind
from napari_connecto.workflows.xray.translate_params import TranslatorParams

pytestmark = pytest.mark.usefixtures("qtbot")


@dataclasses.dataclass(frozen=True)
class Params:
    recall: float = param(0.99, "Share to keep.", low=0.5, high=1.0)
    audit: int = param(300, "Chunks.", low=0)
    exhaustive: bool = param(False, "Everything.")
    mode: str = param("fail", "What to do.", choices=("fail", "skip"))
    name: str = param("cells", "What it finds.")
    threshold: float | None = param(None, "Least score.", low=0.1, high=1.0)
    tile: tuple[int, int, int] | None = param(None, "Chunk (z y x).", unit="voxels", low=1, high=64, advanced=True)
    diameter_nm: float = param(0.0, "Diameter.", unit="nm", low=0)
    device: str = param("auto", "Where.", advanced=True)

    def __post_init__(self):
        check(self)


def test_defaults_survive():
    assert ParamsForm(Params).value == Params()


@pytest.mark.parametrize(
    "params",
    [
        Params(recall=0.875, audit=12, exhaustive=True, mode="skip", name="bodies"),
        Params(threshold=0.25, tile=(8, 32, 64), diameter_nm=1234.5, device="cpu"),
        Params(threshold=None, tile=None),
    ],
)
def test_any_value_survives(params):
    form = ParamsForm(Params)
    form.build()
    form.value = Params(threshold=0.5, tile=(1, 2, 3))
    form.value = params
    assert form.value == params


def test_a_zero_that_stands_for_something_says_so(qtbot):
    """And says nothing beside any other number."""

    @dataclasses.dataclass(frozen=True)
    class Steps:
        steps: int = param(0, "Steps.", low=0, zero="by the preset")
        rate: float = param(0.0, "Rate.", low=0)

    form = ParamsForm(Steps)
    qtbot.addWidget(form)
    form.show()
    QApplication.processEvents()
    said = lambda name: [w.text() for w in form.row(name).findChildren(QLabel) if w.isVisible()]  # noqa: E731
    assert (said("steps"), said("rate")) == (["by the preset"], [])
    form.say_zero("steps", "100 by the preset")
    assert said("steps") == ["100 by the preset"]
    form.change(steps=7)
    assert said("steps") == []
    form.change(steps=0)
    assert said("steps") == ["100 by the preset"]


def test_editing_is_announced(qtbot):
    form = ParamsForm(Params)
    with qtbot.waitSignal(form.changed, timeout=1000):
        form.row("audit")._editors[0].value = 7
    assert form.value.audit == 7


def test_tooltip_states_range_and_unit_and_label_the_unit():
    row = ParamsForm(Params).row("diameter_nm")
    assert row.label == "Diameter (nm)"
    assert row.tooltip == "Diameter.\nAllowed: from 0 nm"


def test_skipped_fields_keep_their_default():
    form = ParamsForm(Params, skip=("device",))
    assert form.value.device == "auto"
    with pytest.raises(KeyError):
        form.row("device")


def test_a_type_no_form_can_edit_is_refused():
    odd = dataclasses.make_dataclass("Odd", [("box", dict, param(None, "A mapping."))])
    with pytest.raises(InputError, match="a form edits bool, int, float, str"):
        ParamsForm(odd).build()


def test_what_a_small_step_leads_to_is_shown_and_allowed():
    form = ParamsForm(TranslatorParams)
    box = form.row("learning_rate")._editors[0]
    for _ in range(3):
        box.native.stepBy(-1)
    assert form.value.learning_rate == 1e-7
    form.value = TranslatorParams(learning_rate=3e-4)
    assert form.value == TranslatorParams(learning_rate=3e-4)


def test_a_form_that_was_never_shown_makes_no_editors_and_keeps_what_is_set(qtbot):
    """What was set, the unit and what a 0 stands for are there once it is shown, and showing it changes nothing."""
    form = ParamsForm(Params)
    qtbot.addWidget(form)
    with qtbot.waitSignal(form.changed, timeout=1000):
        form.change(audit=7, threshold=None)
    form.count_in("pixels")
    form.say_zero("diameter_nm", "measured")
    assert not form.findChildren(QLabel)
    assert form.value == Params(audit=7, threshold=None)
    with qtbot.assertNotEmitted(form.changed):
        form.change(audit=7)
        form.show()
        QApplication.processEvents()
    texts = [label.text() for label in form.findChildren(QLabel) if label.isVisible()]
    assert {"Diameter (pixels)", "measured"} <= set(texts)
    assert form.value == Params(audit=7, threshold=None)


def test_changing_some_fields_leaves_the_others():
    form = ParamsForm(Params)
    form.value = Params(recall=0.9, name="nuclei", threshold=0.5)
    form.change(audit=7, threshold=None)
    assert form.value == Params(recall=0.9, name="nuclei", audit=7)


def test_lengths_are_pixels_in_label_and_tooltip_until_a_size_is_known():
    form = ParamsForm(FieldParams)
    form.build()
    for unit, told in (("pixels", "pixels"), ("nm", "um"), ("pixels", "pixels")):
        form.count_in(unit)
        label = next(label for label in form.findChildren(QLabel) if label.text() == f"Margin ({told})")
        assert label.toolTip().endswith(f"Allowed: from 0 to 1e+09 {told}")
        assert form.row("margin").tooltip == label.toolTip()


def other(field, hint):
    """A value that the field may have, and that is not its default."""
    meta, parts = field.metadata, [part for part in get_args(hint) if part is not NoneType]
    kind = parts[0] if NoneType in get_args(hint) else hint
    if get_origin(kind) is tuple:
        return tuple(other(field, part) for part in get_args(kind))
    if meta["choices"]:
        return next(choice for choice in meta["choices"] if choice != field.default)
    if kind is bool:
        return not field.default
    if kind is str:
        return "another word"
    low, high = meta["low"] or 0, meta["high"] or 1e6
    return next(kind(value) for value in (low + 2, low + 0.25, high) if kind(value) != field.default and value <= high)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_form_loses_no_parameter_of_any_workflow(entry):
    """Its editor, label and bounds suit every field: what is set is what the run asks for."""
    for kind in filter(None, (params_kind(bare(hint)) for hint in get_type_hints(entry).values())):
        hints = get_type_hints(kind)
        params = kind(**{field.name: other(field, hints[field.name]) for field in dataclasses.fields(kind)})
        assert all(getattr(params, field.name) != field.default for field in dataclasses.fields(kind))
        form = ParamsForm(kind)
        form.build()
        form.value = params
        assert form.value == params
