"""Where jobs run: chosen in a row, remembered, copied as options; a cluster ends in the same layer, or in one line."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest

pytest.importorskip("napari")

from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.models.files import load_model
from napari_connecto.widgets.shared.commands import RunOn
from napari_connecto.widgets.shared.run_on import CHOICES, CLUSTER, THIS_MACHINE, WORKERS, RunOnRow
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.segment.segment import segment
from tests.widgets.adapt_steps import refused
from tests.widgets.test_plugin import MANIFEST


@pytest.fixture
def row(qtbot):
    made = RunOnRow()
    qtbot.addWidget(made)
    made.show()
    return made


def test_each_choice_shows_what_it_needs_and_becomes_options(row):
    assert (row.value, row.value.words) == (RunOn(), [])
    assert not row.workers.isVisible()
    assert not row.address.isVisible()
    row.where.setCurrentText(WORKERS)
    row.workers.setValue(3)
    assert row.workers.isVisible()
    assert (row.value, row.value.words) == (RunOn(workers=3), ["--workers", "3"])
    row.where.setCurrentText(CLUSTER)
    assert row.address.isVisible()
    with pytest.raises(InputError, match="no cluster address is given; enter one such as tcp://host:8786"):
        _ = row.value
    row.address.setText("  tcp://here:8786 ")
    assert row.value.words == ["--scheduler", "tcp://here:8786"]
    assert not row.workers.isVisible()


def test_the_choice_is_remembered(plugin_settings, npe2pm, qtbot):
    manifest = PluginManifest.from_file(MANIFEST)
    if "napari-connecto" not in npe2pm:
        npe2pm.register(manifest)
    assert tuple(manifest.contributions.configurations["cascade"].properties["run_on"].enum) == CHOICES
    first = RunOnRow()
    qtbot.addWidget(first)
    assert first.value == RunOn()
    first.where.setCurrentText(CLUSTER)
    first.address.setText("tcp://here:8786")
    first.address.editingFinished.emit()
    second = RunOnRow()
    qtbot.addWidget(second)
    assert second.value == RunOn(scheduler="tcp://here:8786")
    second.where.setCurrentText(WORKERS)
    second.workers.setValue(5)
    second.where.setCurrentText(THIS_MACHINE)
    third = RunOnRow()
    qtbot.addWidget(third)
    assert (third.value, third.workers.value(), third.address.text()) == (RunOn(), 5, "tcp://here:8786")


@pytest.mark.gl
def test_a_wrong_address_ends_in_one_line(dock, qtbot):
    dock.choose.choose("near")
    dock.go_to(5)
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.run_on.where.setCurrentText(CLUSTER)
    dock.segment.bar.button.click()
    assert "no cluster address is given" in dock.segment.bar.error.label.text()
    for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://no.such.host.invalid:8786"):
        dock.segment.run_on.address.setText(address)
        dock.segment.bar.button.click()
        said = refused(dock.segment.bar, qtbot)
        assert said.startswith(f"cannot reach a Dask scheduler at '{address}': ")
        assert said.endswith("check the address, such as tcp://host:8786, and that the scheduler runs")


@pytest.mark.gl
@pytest.mark.slow
def test_the_viewer_lives_while_a_scheduler_does_not_answer(dock, qtbot):
    dock.choose.choose("near")
    dock.go_to(5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dock.segment.run_on.where.setCurrentText(CLUSTER)
        dock.segment.run_on.address.setText(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        ticks, timer = [], QTimer()
        timer.timeout.connect(lambda: ticks.append(time.monotonic()))
        timer.start(50)
        dock.segment.bar.button.click()
        qtbot.waitUntil(lambda: not dock.segment.bar.worker.state.busy, timeout=200_000)
        said = dock.segment.bar.error.label.text()
        timer.stop()
    assert said.startswith("cannot reach a Dask scheduler at 'tcp://127.0.0.1")
    assert len(ticks) > 40, "the GUI's thread went on for the ten seconds of waiting"


@pytest.mark.gl
@pytest.mark.slow
def test_two_local_workers_end_in_the_layer_of_a_local_run(dock, viewer, qtbot, files, tmp_path):
    dock.choose.choose("near")
    dock.go_to(5)
    dock.segment.where.setCurrentText("Everywhere")
    dock.segment.run_on.where.setCurrentText(WORKERS)
    what = dock.segment.segmenting()
    dock.segment.copy.click()
    assert QApplication.clipboard().text().endswith(" --workers 2")
    dock.segment.bar.button.click()
    qtbot.waitUntil(lambda: not dock.segment.bar.worker.state.busy, timeout=250_000)
    assert dock.segment.bar.error.label.text() == ""
    model = load_model(what.model, backend="torch")
    here = segment(open_volume(files[0]), what.params, model=model, out=tmp_path / "here", gate=load_gate(what.model))
    layer = viewer.layers[dock.segment.layer.name]
    shown = np.asarray((layer.data[0] if layer.multiscale else layer.data)[:])
    np.testing.assert_array_equal(shown, here.levels[0].read(here.levels[0].box))
    assert shown.max() == here.metadata["segments"] > 5
