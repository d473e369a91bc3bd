"""Ctrl-C in the shell while a model is trained."""

from __future__ import annotations

import signal

import pytest

from napari_connecto.cli.stopping import StopOnInterrupt
from napari_connecto.core.jobs import Progress, run
from napari_connecto.workflows.shared.stop_file import STOP


def interrupted(stage, done):
    yield Progress(done, 10, stage)
    signal.raise_signal(signal.SIGINT)
    yield Progress(done, 10, stage)
    return {}


@pytest.fixture(autouse=True)
def heard():
    """Shells may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("workflow", ["train-cascade", "fine-tune", "train-translator"])
def test_the_first_interrupt_of_a_training_asks_it_to_stop(workflow, tmp_path):
    with StopOnInterrupt({"workflow": workflow, "out": str(tmp_path / "out")}) as stopping:
        assert run(stopping.watched(interrupted("training member 1", 3))) == {}
    assert (tmp_path / "out" / STOP).exists()


@pytest.mark.parametrize(("workflow", "stage", "done"), [("detect", "training", 3), ("fine-tune", "training", 0)])
def test_before_the_first_step_and_elsewhere_it_cancels(workflow, stage, done, tmp_path):
    recipe = {"workflow": workflow, "out": str(tmp_path / "out")}
    with pytest.raises(KeyboardInterrupt), StopOnInterrupt(recipe) as stopping:
        run(stopping.watched(interrupted(stage, done)))
    assert not (tmp_path / "out").exists()
