"""Ctrl-C in the shell while a model is trained."""

from __future__ import annotations

import signal

import pytest

from napari_connecto.cli.stopping import StopOnInterrupt
from napari_connecto.core.jobs import Progress, run
from napari_connecto.core.params import REQUIRED
from napari_connecto.workflows.recipes.document import run_of
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.leaves import leaves
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


def asked(workflow, tmp_path):
    """A run of a workflow, with all that it needs."""
    needed = {leaf.path[0]: "x" for leaf in leaves(ENTRIES[workflow]) if leaf.default is REQUIRED}
    one_of = {"train-cascade": {"labels": "x"}, "detect": {"cascade": "x"}}.get(workflow, {})
    return run_of({"workflow": workflow, **needed, **one_of, "out": str(tmp_path / "out")})


@pytest.mark.parametrize("workflow", ["train-cascade", "fine-tune", "train-translator"])
def test_the_first_interrupt_of_a_training_asks_it_to_stop(workflow, tmp_path):
    with StopOnInterrupt(asked(workflow, tmp_path)) as stopping:
        assert run(stopping.watched(interrupted("training member 1", 3))) == {}
    assert (tmp_path / "out" / STOP).exists()


@pytest.mark.parametrize(("workflow", "stage", "done"), [("detect", "training", 3), ("fine-tune", "training", 0)])
def test_before_the_first_step_and_elsewhere_it_cancels(workflow, stage, done, tmp_path):
    with pytest.raises(KeyboardInterrupt), StopOnInterrupt(asked(workflow, tmp_path)) as stopping:
        run(stopping.watched(interrupted(stage, done)))
    assert not (tmp_path / "out").exists()
