from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.inference.device import cores, describe_device, free_memory, pick_device
from napari_connecto.models.inference.predictor import TorchPredictor
from tests.models.cards import SCORER_3D, UNET_2D


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(new_model(SCORER_3D, 4, device="cpu"), tmp_path / "model")
    return tmp_path / "model"


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model = new_model(UNET_2D, 4, device="cpu")
    card = save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m", device="cpu", backend="torch")
    assert again.card == card == model.card
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["card.json", "weights.safetensors"]
    batch = np.random.default_rng(0).random((2, 1, 1, 48, 48), np.float32)
    for name in ("object", "centre"):
        np.testing.assert_array_equal(again(batch, [0, 0])[name], model(batch, [0, 0])[name])


def test_seeds_decide_the_weights() -> None:
    digests = [new_model(UNET_2D, seed, device="cpu").card.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_making_a_model_leaves_torchs_seed_alone() -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    new_model(UNET_2D, 1, device="cpu")
    assert torch.equal(torch.rand(1), expected)


def test_a_model_is_not_overwritten_unless_told(folder: Path) -> None:
    other = new_model(SCORER_3D, 5, device="cpu")
    with pytest.raises(StoreError, match="holds a model already"):
        save_model(other, folder)
    save_model(other, folder, overwrite=True)
    assert load_model(folder, backend="torch").card.digest == other.card.digest


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the model"):
        save_model(new_model(SCORER_3D, 0, device="cpu"), tmp_path / "file" / "model")


def test_changed_weights_are_refused(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"have digest .*, the card says .*copy the model again"):
        load_model(folder)


def test_weights_that_do_not_fit_the_network_are_refused(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    card["network"]["width"] = 8
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"tensor '.*' has shape \(.*\), the card's network needs \("):
        load_model(folder)


def test_missing_tensors_are_named(folder: Path) -> None:
    model = new_model(SCORER_3D, 4, device="cpu")
    tensors = safetensors.torch.load(model.weights)
    del tensors["0.weight"]
    import hashlib

    data = safetensors.torch.save(tensors)
    (folder / "weights.safetensors").write_bytes(data)
    card = {**model.card.to_json(), "digest": hashlib.sha256(data).hexdigest()}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"tensors \['0.weight'\] are only in one of them"):
        load_model(folder)


@pytest.mark.parametrize("name", ["weights.pt", "model.pth", "model.pkl", "last.ckpt"])
def test_pickles_are_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (tmp_path / "exploded").touch, ()

    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(ModelError, match=r"holds pickled weights.*weights\.safetensors"):
            load_model(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[]", "got list"), ('{"name": "a"}', "the model card is damaged")]
)
def test_a_damaged_card_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_folders_without_a_model_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has no card.json; give the folder"):
        load_model(tmp_path / "nowhere")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights.safetensors"):
        load_model(folder)


def test_unknown_backends_and_devices_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="got backend 'onnx'; allowed: auto, torch, openvino"):
        load_model(folder, backend="onnx")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="got device 'gpu'; allowed: auto, cpu"):
        load_model(folder, device="gpu")
    with pytest.raises(InputError, match="this machine does not have"):
        load_model(folder, device="cuda:99")


def test_devices_are_described() -> None:
    assert pick_device("cpu").type == "cpu"
    assert describe_device("cpu").startswith(f"CPU, {cores()} core")
    assert free_memory("cpu") > 2**20
    assert isinstance(new_model(SCORER_3D, 0), TorchPredictor)
