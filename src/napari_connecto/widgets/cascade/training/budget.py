"""How long a training may take: three buttons, with their minutes."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.viewer.view import OKABE_ITO

MINUTES = {"quick": 1, "standard": 5, "best": 20}
STYLE = f"QPushButton:checked {{ background: {OKABE_ITO['accepted']}; color: black; }}"


class BudgetButtons(QWidget):
    """Quick, Standard, Best: the field ``budget`` of a form, in sight."""

    def __init__(self, form: ParamsForm[Any]) -> None:
        super().__init__()
        self._form = form
        self.buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for name, minutes in MINUTES.items():
            button = QPushButton(f"{name.capitalize()} {minutes} min")
            button.setCheckable(True)
            button.setMinimumWidth(60)
            button.setStyleSheet(STYLE)
            button.setToolTip(f"Train for at most {minutes} min, all levels together; less if done earlier")
            button.clicked.connect(lambda _checked=False, name=name: self._choose(name))
            row.addWidget(button)
            self.buttons[name] = button
        form.changed.connect(self._show)
        self._show()

    def _choose(self, name: str) -> None:
        self._form.change(budget=name)
        self._show()  # a second click on the same button leaves it pressed

    def _show(self) -> None:
        for name, button in self.buttons.items():  # no exclusive group, in which Tab stops at one button only
            button.setChecked(name == self._form.get("budget"))
