"""The tags of the current detection: one button for each, with its key, and a line to name them."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_connecto.core.errors import InputError
from napari_connecto.widgets.viewer.view import OKABE_ITO
from napari_connecto.workflows.cascade.verdicts import check_tags

MOST = 9
STYLE = f"""QToolButton {{ border: 1px solid gray; border-radius: 3px; padding: 2px 5px; }}
QToolButton:checked {{ background: {OKABE_ITO["accepted"]}; color: black; }}"""


class TagRow(QWidget):
    """Tags to give by a click or by the keys 1 to 9.

    Signals: ``tagged(int)`` with the number of a tag, ``named(tuple)`` with new names, ``failed(error, "")``.
    """

    tagged = Signal(int)
    named = Signal(object)
    failed = Signal(object, str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[QToolButton] = []
        self.edit = QToolButton()
        self.edit.setText("Edit…")
        self.edit.setCheckable(True)
        self.edit.setToolTip("Name the tags of this review, up to nine; they are saved with it")
        self.line = QLineEdit()
        self.line.setPlaceholderText("Names, separated by commas")
        self.line.setToolTip("Up to nine names, separated by commas, for the keys 1 to 9; press Enter")
        self.line.hide()
        self._flow = QFlowLayout()
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.addWidget(self.edit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._flow)
        layout.addWidget(self.line)
        self.edit.toggled.connect(self._on_edit)
        self.line.returnPressed.connect(self._on_named)

    def show_tags(self, names: tuple[str, ...], given: tuple[str, ...]) -> None:
        """Offer the tags of a review; those that the current detection has are pressed."""
        if [button.text() for button in self.buttons] != [_text(i, name) for i, name in enumerate(names)]:
            self._offer(names)
        for button, name in zip(self.buttons, names, strict=True):
            button.setChecked(name in given)

    def _offer(self, names: tuple[str, ...]) -> None:
        self._flow.removeWidget(self.edit)
        for button in self.buttons:
            self._flow.removeWidget(button)
            button.deleteLater()
        self.buttons = []
        for i, name in enumerate(names):
            button = QToolButton(self)
            button.setText(_text(i, name))
            button.setCheckable(True)
            button.setStyleSheet(STYLE)
            button.setToolTip(f"Tag this detection '{name}', or remove the tag (key {i + 1}; saved)")
            button.clicked.connect(partial(self._on_clicked, i))
            self._flow.addWidget(button)
            self.buttons.append(button)
        self._flow.addWidget(self.edit)
        if not self.line.hasFocus():
            self.line.setText(", ".join(names))

    def _on_clicked(self, index: int) -> None:
        self.tagged.emit(index)

    def _on_edit(self, on: bool) -> None:
        self.line.setVisible(on)
        if on:
            self.line.setFocus()

    def _on_named(self) -> None:
        try:
            names = check_tags(name for name in self.line.text().split(",") if name.strip())
            if len(names) > MOST:
                raise InputError(f"got {len(names)} tags; name at most {MOST}, one for each key")
        except InputError as error:
            self.failed.emit(error, "")
            return
        self.edit.setChecked(False)
        self.named.emit(names)


def _text(index: int, name: str) -> str:
    return f"{index + 1} {name}"
