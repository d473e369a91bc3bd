"""What a user of the dock "Inspect a model" does, for its tests."""

from __future__ import annotations


def settle(bar, qtbot, timeout: int = 300_000) -> None:
    """Wait for a job, however it ends."""
    qtbot.waitUntil(lambda: not bar.worker.state.busy, timeout=timeout)


def pressed(bar, qtbot) -> None:
    """Press a bar's button, and wait for a job that goes well."""
    bar.button.click()
    settle(bar, qtbot)
    assert bar.error.label.text() == ""
