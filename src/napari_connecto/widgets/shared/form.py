"""A params dataclass as a form, and back: labels, units, ranges and tooltips come from the fields' metadata."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from math import floor, log10
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QWidget

from napari_connecto.core.errors import InputError
from napari_connecto.core.params import from_mapping
from napari_connecto.widgets.shared.details import Details

P = TypeVar("P")
_FAR = 1e9
LENGTH = re.compile(r"\b(nm|um)\b")


class ParamsForm(QWidget, Generic[P]):
    """One row per field of a params dataclass; ``advanced`` fields are folded under "More". Rows are made when needed.

    Parameters
    ----------
    kind
        A dataclass whose fields were made by `core.params.param`; types bool, int, float, str, tuples of numbers and
        ``| None`` of these.
    skip
        Fields set elsewhere in the dock.
    first
        Fields above the fold; all others are below it. By default those that are not ``advanced``.
    """

    changed = Signal()

    def __init__(self, kind: type[P], skip: Sequence[str] = (), first: Sequence[str] = ()) -> None:
        super().__init__()
        self._kind, self._first, self._unit = kind, first, "nm"
        asked = [f for f in dataclasses.fields(kind) if f.metadata and f.name not in skip]  # type: ignore[arg-type]
        self._fields = {field.name: field for field in asked}
        self._values: dict[str, Any] = {field.name: field.default for field in asked}
        self._rows: dict[str, _Row] = {}
        self._labels: dict[str, QLabel] = {}
        self._zeros: dict[str, str] = {}

    def showEvent(self, event: Any) -> None:
        """Make the rows."""
        self.build()
        super().showEvent(event)

    def build(self) -> None:
        """Make the rows, once; `row` and showing the form do so too.

        Dozens of editors take longer than the rest of a dock, and most forms are in folds that stay closed.

        Raises
        ------
        InputError
            If a field has a type that no editor suits.
        """
        if self.layout() is not None:
            return
        hints = get_type_hints(self._kind)
        layout, more = _form_layout(self), QWidget()
        more_layout = _form_layout(more)
        for name, field in self._fields.items():
            row = _Row(field, hints[name])
            row.value = self._values[name]
            row.changed.connect(self.changed)
            label = QLabel(row.label)
            label.setToolTip(row.tooltip)
            folded = name not in self._first if self._first else field.metadata["advanced"]
            (more_layout if folded else layout).addRow(label, row)
            self._rows[name], self._labels[name] = row, label
        if more_layout.rowCount():
            layout.addRow(Details(more, title="More", tooltip="Parameters that rarely need changing"))
        self.count_in(self._unit)
        for name, text in self._zeros.items():
            self._rows[name].say_zero(text)
        if any(self.get(name) != value for name, value in self._values.items()):  # rounded by an editor
            self.changed.emit()

    @property
    def value(self) -> P:
        """The params; raises `InputError` with the allowed range if a field is out of range."""
        return from_mapping(self._kind, {name: self.get(name) for name in self._fields})

    @value.setter
    def value(self, params: P) -> None:
        self.change(**{name: getattr(params, name) for name in self._fields})

    def get(self, name: str) -> Any:
        """The value of one field, valid or not."""
        return self._rows[name].value if self._rows else self._values[name]

    def change(self, **values: Any) -> None:
        """Set these fields and leave the others as they are, valid or not."""
        if self._rows:
            for name, value in values.items():
                self._rows[name].value = value
        elif any(self._values[name] != value for name, value in values.items()):
            self._values |= values
            self.changed.emit()

    def count_in(self, unit: str) -> None:
        """Name the unit of lengths: each field's own, or "pixels" on an image of unknown voxel size."""
        self._unit = unit
        for name, label in self._labels.items():
            row = self._rows[name]
            row.count_in(unit)
            label.setText(row.label)
            label.setToolTip(row.tooltip)

    def say_zero(self, name: str, text: str) -> None:
        """Say beside a 0 in this field what it stands for."""
        self._zeros[name] = text
        if self._rows:
            self._rows[name].say_zero(text)

    def automatic(self, name: str) -> bool:
        """Whether there is a field of this name in which 0 means that the value is found automatically."""
        return name in self._fields and bool(self._fields[name].metadata.get("zero"))

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return name in self._fields

    def row(self, name: str) -> _Row:
        """The editor of a field."""
        self.build()
        return self._rows[name]


class _Row(QWidget):
    """Editor of one field: a magicgui widget per number, with a check box in front if the field may be empty."""

    changed = Signal()

    def __init__(self, field: dataclasses.Field[Any], hint: Any) -> None:
        super().__init__()
        meta = field.metadata
        inner = [a for a in get_args(hint) if a is not NoneType]
        self._optional = NoneType in get_args(hint)
        kind = inner[0] if self._optional else hint
        self._many = getattr(kind, "__origin__", kind) is tuple
        kinds = [a for a in get_args(kind) if a is not Ellipsis] if self._many else [kind]
        self._editors = [_editor(k, meta) for k in kinds]
        self.label = field.name.removesuffix("_nm").replace("_", " ").capitalize()
        self.label += f" ({meta['unit']})" if meta["unit"] else ""
        self.tooltip = _tooltip(meta)
        self._stated = self.label, self.tooltip
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._tick = CheckBox(value=True, text="")
        if self._optional:
            self._tick.tooltip = "Clear to choose automatically"
            layout.addWidget(self._tick.native)
            self._tick.changed.connect(self._on_ticked)
        for editor in self._editors:
            editor.tooltip = self.tooltip
            editor.native.setStyleSheet("min-width: 40px;")  # napari's own is too wide for three in a row
            layout.addWidget(editor.native, 1)
            editor.changed.connect(lambda *_: self.changed.emit())
        self._zero = QLabel(meta.get("zero", ""))
        self._zero.setToolTip(self.tooltip)
        layout.addWidget(self._zero)
        self.changed.connect(self._show_zero)
        self.value = field.default
        self._show_zero()

    @property
    def value(self) -> Any:
        """Value of the field; None if the check box is cleared."""
        if not self._tick.value:
            return None
        values = tuple(editor.value for editor in self._editors)
        return values if self._many else values[0]

    @value.setter
    def value(self, value: Any) -> None:
        if self._optional:
            self._tick.value = value is not None
            self._on_ticked(value is not None)
        if value is not None:
            for editor, part in zip(self._editors, value if self._many else (value,), strict=True):
                editor.value = part

    def count_in(self, unit: str) -> None:
        """See `ParamsForm.count_in`."""
        self.label, self.tooltip = (LENGTH.sub(unit, text) if unit == "pixels" else text for text in self._stated)
        for editor in self._editors:
            editor.tooltip = self.tooltip
        self._zero.setToolTip(self.tooltip)

    def say_zero(self, text: str) -> None:
        """Say beside a 0 what it stands for."""
        self._zero.setText(text)
        self._show_zero()

    def _show_zero(self) -> None:
        self._zero.setVisible(bool(self._zero.text()) and self.value == 0)

    def _on_ticked(self, on: bool) -> None:
        for editor in self._editors:
            editor.enabled = on
        self.changed.emit()


def _editor(kind: Any, meta: Any) -> Any:
    low = -_FAR if meta["low"] is None else meta["low"]
    high = _FAR if meta["high"] is None else meta["high"]
    if meta["choices"]:
        return ComboBox(choices=list(meta["choices"]))
    if kind is bool:
        return CheckBox(text="")
    if kind is int:
        return SpinBox(value=int(max(low, min(high, 0))), min=int(low), max=int(high))
    if kind is float:
        small = meta["high"] is not None and meta["high"] <= 1
        box = FloatSpinBox(
            value=float(max(low, min(high, 0))), min=float(low), max=float(high), step=0.01 if small else 1.0
        )
        box.native.setDecimals(max(4 if small else 2, _digits(low)))
        box.min = float(low)  # Qt rounds limits to the decimals it has, two until here
        return box
    if kind is str:
        return LineEdit()
    raise InputError(f"got a field of type {kind}; a form edits bool, int, float, str and tuples of these")


def _digits(low: float) -> int:
    """Decimals needed to show the smallest allowed value."""
    return max(0, -floor(log10(low))) if low > 0 else 0


def _tooltip(meta: Any) -> str:
    text = str(meta["help"])
    if meta["low"] is not None or meta["high"] is not None:
        low = "" if meta["low"] is None else f"from {meta['low']:g}"
        high = "" if meta["high"] is None else f"to {meta['high']:g}"
        text += "\nAllowed: " + " ".join(part for part in (low, high, meta["unit"]) if part)
    return text


def _form_layout(parent: QWidget) -> QFormLayout:
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    return layout
