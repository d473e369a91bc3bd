from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from napari_connecto.core.model import Predictor
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference import openvino as home
from napari_connecto.models.inference.kept import cache_folder, kept
from napari_connecto.models.inference.predictor import TorchPredictor
from tests.contracts.predictor import PredictorContract
from tests.models.cards import ALL, SCORER_25D, UNET_3D

pytestmark = pytest.mark.skipif(not home.installed(), reason="extra 'openvino' is not installed")


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes to the user's cache folder."""
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "napari-connecto" / "openvino"


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
    assert caplog.messages == ["openvino cannot run 'small' (no such operation); continuing with torch"]


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


def _conversions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that are converted from here on."""
    seen, convert = [], home._converted

    def counted(model: TorchPredictor, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
        seen.append(shape)
        return convert(model, shape)

    monkeypatch.setattr(home, "_converted", counted)
    return seen


def test_a_network_is_converted_once_per_machine(cache_home: Path, monkeypatch) -> None:
    seen = _conversions(monkeypatch)
    model = new_model(SCORER_25D, 2, device="cpu")
    batch = np.random.default_rng(1).random((2, 2, 5, 48, 48), np.float32)
    first = home.accelerated(model)(batch, [0, 0])
    again = home.accelerated(new_model(SCORER_25D, 2, device="cpu"))
    assert isinstance(again, home.OpenVinoPredictor)
    for name, block in again(batch, [0, 0]).items():
        np.testing.assert_array_equal(block, first[name])
    assert seen == [(1, 2, 5, 48, 48), (2, 2, 5, 48, 48)]
    assert len(list(cache_home.iterdir())) == 2
    home.OpenVinoPredictor(new_model(SCORER_25D, 3, device="cpu"))
    home.OpenVinoPredictor(TorchPredictor(replace(SCORER_25D, tile=(3, 40, 40)), model.net, "cpu"))
    assert seen[2:] == [(1, 2, 5, 48, 48), (1, 2, 5, 56, 56)], "other weights, another tile"


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_conversion_is_made_again(damage: str, cache_home: Path, monkeypatch) -> None:
    seen = _conversions(monkeypatch)
    model = new_model(SCORER_25D, 2, device="cpu")
    home.OpenVinoPredictor(model)
    (path,) = cache_home.iterdir()
    good = path.read_bytes()
    bad = bytearray(good)
    bad[-1] ^= 1
    path.write_bytes({"bit": bytes(bad), "cut": good[: len(good) // 2], "empty": b""}[damage])
    assert isinstance(home.accelerated(model), home.OpenVinoPredictor)
    assert len(seen) == 2
    assert kept(path.name) is not None, "and is whole again"
    assert [p.name for p in cache_home.iterdir()] == [path.name]


def test_without_a_cache_folder_it_goes_on(cache_home: Path, monkeypatch) -> None:
    cache_home.parent.parent.write_text("a file where the folder should be")
    seen = _conversions(monkeypatch)
    model = new_model(SCORER_25D, 2, device="cpu")
    for _ in range(2):
        assert isinstance(home.accelerated(model), home.OpenVinoPredictor)
    assert len(seen) == 2


def test_a_wrong_conversion_under_the_right_name_is_not_used(cache_home: Path, caplog) -> None:
    """What is kept is checked against torch at every load, as a fresh one is."""
    model, other = (new_model(SCORER_25D, seed, device="cpu") for seed in (2, 3))
    home.OpenVinoPredictor(other)
    (theirs,) = cache_home.iterdir()
    home.OpenVinoPredictor(model)
    (ours,) = [path for path in cache_home.iterdir() if path != theirs]
    ours.write_bytes(theirs.read_bytes())
    with caplog.at_level(logging.WARNING, "napari_connecto"):
        assert home.accelerated(model) is model
    assert "openvino differs from torch by" in caplog.messages[0]


@pytest.mark.skipif(sys.platform == "win32", reason="pretends to be elsewhere, which Windows' paths do not allow")
def test_places_of_the_cache(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/napari-connecto/openvino")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_folder() == Path("/h/.cache/napari-connecto/openvino")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/l")
    assert cache_folder() == Path("/l/napari-connecto/openvino")


def test_no_conversion_is_reported_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", started.append)  # its telemetry forks to send
    home.OpenVinoPredictor(new_model(SCORER_25D, 7, device="cpu"))
    assert started == []


def test_a_signal_after_the_last_model_is_no_crash() -> None:
    code = """
import gc, os, signal
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import OpenVinoPredictor
from tests.models.cards import SCORER_25D
model = OpenVinoPredictor(new_model(SCORER_25D, 2, device="cpu"))
model._compile(2)
del model
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("stopped as asked")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "stopped as asked\n", f"exit {done.returncode}: {done.stderr}"
