from __future__ import annotations

import pickle
import warnings
import zipfile
from contextlib import suppress
from io import BytesIO
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.imported.architectures import MONAI, SMP, architecture, read_state
from napari_connecto.models.imported.predictor import ImportedPredictor, converted, from_layout, to_layout
from napari_connecto.models.imported.torchscript import load_torchscript
from tests.contracts.predictor import PredictorContract
from tests.packages import net, run, script, sigmoid

SMALL_UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}


def card(
    axes: str = "bcyx", *, format: str = "torchscript", tile: Vec3 = (1, 16, 16), names: int = 1, **network: Any
) -> ModelCard:
    halo = (0 if tile[0] == 1 else 4, 8, 8)
    outputs = tuple(Output(f"out{i}") for i in range(names))
    own = {"axes": axes, "answer": axes, "before": [], "after": [{"id": "sigmoid"}], "architecture": "", "kwargs": {}}
    kind = {"kind": "imported", "format": format}
    return ModelCard("tiny", "boundary", (8, 8, 8), tile, halo, outputs, network={**kind, **own, **network})


def state_bytes(state: Any) -> bytes:
    stream = BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


class TestTorchScript(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Predictor:
        return ImportedPredictor(
            card(before=[{"id": "scale_linear", "gain": 2.0, "offset": -1.0}]), script(net()), "cpu"
        )


class TestTorchScript3D(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Predictor:
        return ImportedPredictor(card("bczyx", tile=(4, 8, 8)), script(net(3), (1, 1, 12, 24, 24)), "cpu")


class TestStateDict(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Predictor:
        torch.manual_seed(0)
        state = state_bytes(architecture(MONAI, SMALL_UNET).state_dict())
        network = {"format": "state_dict", "architecture": MONAI, "kwargs": SMALL_UNET}
        return ImportedPredictor(card(names=2, **network), converted(state, MONAI, SMALL_UNET, "it"), "cpu")


def test_answers_as_the_network_does() -> None:
    batch = np.random.default_rng(0).random((2, 1, 1, 32, 32), np.float32)
    got = ImportedPredictor(card(), script(net()), "cpu")(batch, [0, 0])["out0"]
    np.testing.assert_allclose(got[:, 0], sigmoid(run(net(), batch[:, :, 0]))[:, 0], atol=1e-6)


class Last(nn.Module):
    """A network of (b, y, x, c), as Keras has them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def test_channels_may_come_last() -> None:
    batch = np.random.default_rng(0).random((2, 1, 1, 32, 32), np.float32)
    last = ImportedPredictor(card("byxc"), script(Last(), (1, 32, 32, 1)), "cpu")(batch, [0, 0])["out0"]
    first = ImportedPredictor(card(), script(net()), "cpu")(batch, [0, 0])["out0"]
    np.testing.assert_allclose(last, first, atol=1e-6)


@pytest.mark.parametrize("axes", [*map("".join, islice(permutations("bczyx"), 0, None, 7)), "yx", "zyx", "xcy", "byxc"])
def test_axes_go_there_and_back(axes: str) -> None:
    image = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    image = image[tuple(slice(None if letter in axes else 1) for letter in "bczyx")]
    moved = to_layout(image, axes)
    assert moved.shape == tuple(image.shape["bczyx".index(letter)] for letter in axes)
    np.testing.assert_array_equal(from_layout(moved, axes), image)


def test_axes_that_lack_are_said() -> None:
    with pytest.raises(ModelError, match=r"shape \(1, 1, 2, 4, 4\) for the axes 'bcyx'"):
        to_layout(np.zeros((1, 1, 2, 4, 4)), "bcyx")


@pytest.mark.parametrize("format", ["torchscript", "state_dict"])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, format: str, caplog: pytest.LogCaptureFixture) -> None:
    weights = script(net())
    network: dict[str, Any] = {"format": format}
    if format == "state_dict":
        network |= {"architecture": MONAI, "kwargs": SMALL_UNET}
        weights = converted(state_bytes(architecture(MONAI, SMALL_UNET).state_dict()), MONAI, SMALL_UNET, "it")
    model = ImportedPredictor(card(names=1 + (format == "state_dict"), **network), weights, "cpu")
    assert save_model(model, tmp_path) == model.card
    again = load_model(tmp_path, device="cpu", backend="openvino")
    assert "openvino does not run imported networks" in caplog.text
    assert again.card == model.card
    batch = np.random.default_rng(0).random((1, 1, 1, 32, 32), np.float32)
    np.testing.assert_array_equal(again(batch, [0])["out0"], model(batch, [0])["out0"])
    file = tmp_path / ("weights.torchscript" if format == "torchscript" else "weights.safetensors")
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ModelError, match="have digest"):
        load_model(tmp_path)


class Writes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("/tmp/napari-connecto-never", shared=True, size=4).sum()


class Saves(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "/tmp/napari-connecto-never")
        return x


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run!",)


@pytest.mark.parametrize(("kind", "word"), [(Writes, "from_file"), (Saves, "save")])
def test_networks_that_touch_files_are_not_opened(kind: type[nn.Module], word: str) -> None:
    stream = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(kind()), stream)
    with pytest.raises(ModelError, match=f"uses '{word}', which can touch files"):
        load_torchscript(stream.getvalue(), "it")
    assert not Path("/tmp/napari-connecto-never").exists()


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"getattr(self, ", b"getattr(torch, 'a') + (", "hides a name"),
        (b"torch.relu", b"ops.evil.relu", r"operators of \['evil'\]"),
        (b"def forward", b"def for ward", "damaged TorchScript"),
    ],
)
def test_code_is_searched_before_it_is_compiled(old: bytes, new: bytes, match: str) -> None:
    source, changed = zipfile.ZipFile(BytesIO(script(net()))), BytesIO()
    with source, zipfile.ZipFile(changed, "w") as archive:
        for info in source.infolist():
            data = source.read(info)
            archive.writestr(info.filename, data.replace(old, new) if info.filename.endswith(".py") else data)
    with pytest.raises(ModelError, match=match) as caught:
        load_torchscript(changed.getvalue(), "it")
    assert "\n" not in str(caught.value)


def test_pickles_are_not_opened(capsys: pytest.CaptureFixture[str]) -> None:
    for data in (state_bytes({"a": Runs()}), state_bytes(net())):
        with pytest.raises(ModelError, match="is not TorchScript but a pickle"):
            load_torchscript(data, "it")
        with pytest.raises(ModelError, match="holds more than tensors or is damaged; it is not opened"):
            read_state(data, "it")
    for data in (pickle.dumps(Runs()), b"", b"PK\x03\x04"):
        with pytest.raises(ModelError, match="is not TorchScript"):
            load_torchscript(data, "it")
        with pytest.raises(ModelError, match="it "):
            read_state(data, "it")
    assert capsys.readouterr().out == ""


def test_damaged_files_give_our_error_only() -> None:
    rng = np.random.default_rng(0)
    good = {load_torchscript: script(net()), read_state: state_bytes(net().state_dict())}
    for read, whole in good.items():
        for _ in range(60):
            data = bytearray(whole)
            for at in rng.integers(0, len(data), 8):
                data[at] = rng.integers(256)
            with suppress(ModelError):
                read(bytes(data[: rng.integers(len(data) // 2, len(data) + 1)]), "it")


def test_state_dicts_come_as_safetensors_too() -> None:
    unet = architecture(MONAI, SMALL_UNET)
    data = safetensors.torch.save({k: v.contiguous() for k, v in unet.state_dict().items()})
    assert converted(data, MONAI, SMALL_UNET, "it") == converted(
        state_bytes(unet.state_dict()), MONAI, SMALL_UNET, "it"
    )
    with pytest.raises(ModelError, match="are not those of"):
        converted(data, MONAI, {**SMALL_UNET, "channels": [4, 16]}, "it")


@pytest.mark.parametrize(
    ("name", "kwargs", "match"),
    [
        ("os.system", {"command": "ls"}, r"architecture 'os.system'; allowed: monai.networks.nets.UNet, segm"),
        (MONAI, {**SMALL_UNET, "channels": [10**9, 2]}, "other than numbers to 8192"),
        (MONAI, {**SMALL_UNET, "act": {"a": {"b": {"c": {"d": {"e": 1}}}}}}, "other than numbers"),
        (MONAI, {"spatial_dims": 2}, "cannot be built of the arguments"),
        (SMP, {"encoder_name": "nothing"}, "cannot be built of the arguments"),
    ],
)
def test_only_known_architectures_of_plain_arguments_are_built(name: str, kwargs: dict[str, Any], match: str) -> None:
    with pytest.raises(ModelError, match=match):
        architecture(name, kwargs)


def test_smp_never_downloads_weights() -> None:
    kwargs = {
        "encoder_name": "resnet18",
        "encoder_weights": "imagenet",
        "in_channels": 1,
        "classes": 1,
        "encoder_depth": 3,
    }
    unet = architecture(SMP, {**kwargs, "decoder_channels": [16, 8, 4]})
    assert run(unet, np.zeros((1, 1, 32, 32))).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": "keras_hdf5"}, "has format 'keras_hdf5'"),
        ({"format": ["torchscript"]}, "has format"),
        ({"axes": "bcty"}, "has axes 'bcty'"),
        ({"before": "sigmoid"}, "has before 'sigmoid'"),
        ({"after": [{"id": "scale_linear"}]}, "steps that cannot be done on 1 channels"),
        ({"before": [{"id": "scale_linear", "axis": "c", "gain": [1, 2], "offset": 0}]}, "do not fit 1 channels"),
        ({"kwargs": None}, "has kwargs None"),
    ],
)
def test_damaged_cards_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ModelError, match=match):
        ImportedPredictor(card(**change), script(net()), "cpu")


def test_what_the_network_cannot_do_is_said_in_a_line() -> None:
    model = ImportedPredictor(card(), script(net()), "cpu")
    with pytest.raises(ModelError, match=r"'tiny' fails on \(1, 3, 32, 32\)"):
        model.answer(np.zeros((1, 3, 1, 32, 32), np.float32))
    two = ImportedPredictor(card(names=2), script(net()), "cpu")
    with pytest.raises(ModelError, match="gives 1 channels, its card names 2"):
        two(np.zeros((1, 1, 1, 32, 32), np.float32), [0])
