from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3
from napari_connecto.models.files import new_model
from napari_connecto.models.nets.nets import Blur, build, divisor
from tests.models.cards import ALL, SCORER_3D, UNET_2D, UNET_3D, card


@pytest.mark.parametrize("name", ALL)
def test_output_shape_follows_stride_and_trim(name: str) -> None:
    c = ALL[name]
    net = build(c.network, c.channels, len(c.outputs), context=c.outputs[0].trimmed[0]).eval()
    read = [t + 2 * h for t, h in zip(c.tile, c.halo, strict=True)]
    out = c.outputs[0]
    want = [(n - 2 * t) // s for n, t, s in zip(read, out.trimmed, out.stride, strict=True)]
    assert tuple(net(torch.rand(2, c.channels, *read)).shape) == (2, len(c.outputs), *want)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 8, 8), (2, 4, 8), (3, 6, 6), (5, 5, 5)])
def test_a_scorers_cell_is_centred_on_its_own_voxels(stride: Vec3) -> None:
    """The gradient of the middle cell is spread evenly around the middle of its voxels."""
    net = build({"kind": "scorer", "dims": 3, "width": 2, "stride": list(stride)}, 1, 1).eval()
    for module in net.modules():  # only where it looks counts: all weights alike, no ReLU is off
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.ones_(module.weight)
    x = torch.ones(1, 1, *(9 * s for s in stride), requires_grad=True)
    net(x)[0, 0, 4, 4, 4].backward()
    seen = x.grad[0, 0]
    for axis, s in enumerate(stride):
        profile = seen.sum([a for a in range(3) if a != axis])
        middle = float((profile * (torch.arange(9 * s) + 0.5)).sum() / profile.sum())
        assert middle == pytest.approx(4.5 * s, abs=1e-3)


def test_tiles_whole_or_cut_give_the_same_scores_inside() -> None:
    """A U-Net sees the same grid from every tile whose start is a multiple of its strides."""
    torch.manual_seed(0)
    net = build(UNET_3D.network, 1, 1).eval()
    assert divisor(UNET_3D.network) == (2, 4, 4)
    x = torch.rand(1, 1, 32, 96, 96)
    with torch.inference_mode():
        whole, part = net(x), net(x[:, :, 4:28, 8:88, 8:88])
    torch.testing.assert_close(part[..., 10:14, 36:44, 36:44], whole[..., 14:18, 44:52, 44:52], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"kind": "transformer"}, "got network kind 'transformer'; known: scorer, unet, smp"),
        ({"kind": "unet", "dims": 4}, "got a network of 4 dimensions"),
        ({"kind": "scorer", "dims": 2, "stride": [2, 4, 4]}, "a 2-D scorer has stride 1 in z"),
        ({"kind": "smp", "encoder": "nonesuch", "depth": 3}, "cannot be built"),
    ],
)
def test_networks_that_cannot_be_are_refused(network: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(network, 1, 1)


def test_context_is_for_flat_networks() -> None:
    with pytest.raises(ModelError, match="2 sections of context for a 3-D network"):
        build(UNET_3D.network, 1, 1, context=2)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(UNET_3D, tile=(8, 18, 16)), r"multiples of \(2, 4, 4\)"),
        (replace(UNET_3D, halo=(4, 7, 8)), r"multiples of \(2, 4, 4\)"),
        (replace(SCORER_3D, halo=(4, 6, 8)), r"the halo of \(2, 4, 4\)"),
        (card(dict(UNET_2D.network), (1, 32, 32), (0, 8, 8), stride=(1, 2, 2)), r"this network gives \(1, 1, 1\)"),
        (replace(UNET_3D, network={"kind": "unet", "dims": 3, "depth": 3, "strides": [[1, 2, 2]]}), "needs 2 strides"),
        (replace(SCORER_3D, network={"kind": "scorer", "dims": 3}), "correct the card"),
    ],
)
def test_cards_that_do_not_fit_their_network_are_refused(broken: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        new_model(broken, 0, device="cpu")  # type: ignore[arg-type]


def test_sections_of_a_deep_encoder_cut_or_whole() -> None:
    """smp of depth 4: on a grid of 16 a tile answers as the whole image, the better the larger its halo."""
    network = {"kind": "smp", "encoder": "mobilenet_v2", "depth": 4, "width": 4}
    assert divisor(network) == (1, 16, 16)
    new_model(card(network, (1, 64, 64), (0, 32, 32)), 0, device="cpu")
    with pytest.raises(ModelError, match=r"tile and tile \+ 2 halo must be multiples of \(1, 16, 16\)"):
        new_model(card(network, (1, 64, 64), (0, 36, 36)), 0, device="cpu")
    torch.manual_seed(0)
    net = build(network, 1, 1)
    x = torch.rand(1, 1, 1, 320, 320)
    with torch.inference_mode():
        for _ in range(5):
            net(x)
        whole = net.eval()(x)
        off = []
        for halo in (16, 48, 96):
            near = slice(128 - halo, 192 + halo)
            part = net(x[..., near, near])[..., halo : halo + 64, halo : halo + 64]
            off.append(float((part - whole[..., 128:192, 128:192]).abs().max() / whole.std()))
    assert off[0] > 10 * off[1] > 10 * off[2]
    assert off[2] < 1e-3


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t"])
def test_no_pretrained_weights_are_fetched(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    build({"kind": "smp", "encoder": encoder, "depth": 2}, 1, 1)


def test_the_blur_lets_no_checkerboard_through_and_leaves_slopes_alone() -> None:
    checkers = torch.from_numpy(np.indices((6, 8, 8)).sum(axis=0) % 2 * 2.0 - 1)[None, None]
    assert float(Blur((1, 2, 2))(checkers)[..., 1:-1, 1:-1].abs().max()) == 0
    assert float(Blur((1, 1, 1))(checkers).abs().min()) == 1
    slope = torch.arange(8.0).expand(1, 1, 6, 8, 8)
    torch.testing.assert_close(Blur((2, 2, 2))(slope)[..., 1:-1], slope[..., 1:-1])


@pytest.mark.parametrize("blurred", [True, False])
def test_a_blurred_network_answers_a_constant_without_a_pattern(blurred: bool) -> None:
    network = {"kind": "unet", "dims": 3, "width": 4, "depth": 3, "blur": blurred}
    torch.manual_seed(0)
    answer = build(network, 1, 1).eval()(torch.ones(1, 1, 32, 32, 32))[0, 0, 12:20, 12:20, 12:20]
    assert (float(answer.detach().std()) < 1e-5) == blurred


def test_memory_that_runs_out_is_not_the_cards_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr("napari_connecto.models.nets.nets._unet", no_room)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        build(UNET_2D.network, 1, 1)
