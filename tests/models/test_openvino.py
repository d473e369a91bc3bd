from __future__ import annotations

import logging
from functools import cache

import numpy as np
import pytest

from napari_connecto.core.model import Predictor
from napari_connecto.models import openvino as home
from napari_connecto.models.files import load_model, new_model, save_model
from tests.contracts.predictor import PredictorContract
from tests.models.cards import ALL, SCORER_25D, UNET_3D

pytestmark = pytest.mark.skipif(not home.installed(), reason="extra 'openvino' is not installed")


@cache
def _compiled() -> Predictor:
    return home.OpenVinoPredictor(new_model(SCORER_25D, 1, device="cpu"))


class TestOpenVinoPredictor(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Predictor:
        return _compiled()


@pytest.mark.parametrize("name", ["scorer 2.5-D", "unet 3-D", pytest.param("smp", marks=pytest.mark.slow)])
def test_equals_torch(name: str) -> None:
    card = ALL[name]
    model = new_model(card, 2, device="cpu")
    fast = home.accelerated(model)
    assert isinstance(fast, home.OpenVinoPredictor)
    shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
    batch = np.random.default_rng(1).random((3, card.channels, *shape), np.float32)
    for output, block in model(batch, [0] * 3).items():
        np.testing.assert_allclose(fast(batch, [0] * 3)[output], block, atol=1e-4)


def test_a_loaded_model_can_be_saved_again(tmp_path) -> None:
    model = new_model(SCORER_25D, 2, device="cpu")
    save_model(model, tmp_path / "a")
    fast = load_model(tmp_path / "a", device="cpu", backend="openvino")
    assert isinstance(fast, home.OpenVinoPredictor)
    assert save_model(fast, tmp_path / "b") == model.card


def test_falls_back_with_one_line_where_it_cannot_convert(monkeypatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such operation\nlong C++ story")

    monkeypatch.setattr(home, "_convert", refuse)
    model = new_model(UNET_3D, 0, device="cpu")
    with caplog.at_level(logging.WARNING, "napari_connecto"):
        assert home.accelerated(model) is model
    assert caplog.messages == ["openvino cannot run 'small' (no such operation); going on with torch"]


def test_falls_back_with_one_line_where_it_differs(monkeypatch, caplog) -> None:
    monkeypatch.setattr(home.OpenVinoPredictor, "_activate", lambda self, logits: logits)
    model = new_model(UNET_3D, 0, device="cpu")
    with caplog.at_level(logging.WARNING, "napari_connecto"):
        assert home.accelerated(model) is model
    assert "openvino differs from torch by" in caplog.messages[0]


def test_falls_back_with_one_line_where_it_is_absent(monkeypatch, caplog) -> None:
    monkeypatch.setattr(home, "installed", lambda: False)
    model = new_model(UNET_3D, 0, device="cpu")
    with caplog.at_level(logging.WARNING, "napari_connecto"):
        assert home.accelerated(model) is model
    assert "extra 'openvino'" in caplog.messages[0]
