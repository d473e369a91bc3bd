"""A plain U-Net of segmentation_models_pytorch, trained from scratch section by section."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import segmentation_models_pytorch as smp
import torch
from _detector_data import Data, Scene
from _detector_objects import choose_rule, typical_radius
from _detector_peers import Clock, Peer, averaged, halves, restored, scaled

from napari_connecto.core.metrics import count

ENCODER, DEPTH, DECODER = "resnet18", 4, (64, 48, 32, 16)
FACTORS, SIDE, BATCH, RATE = (4, 2, 1), 96, 4, 2e-3
TRIAL, TRAINED = 0.1, 0.85
"""Share of the budget that each resolution is tried for, and at which training ends."""
TILE, HALO = 1024, 64


def unet(scene: Scene, data: Data, budget_s: float, seed: int) -> Peer:
    """BCE + Dice, Adam, flips and turns, crops of 96 x 96.

    Every resolution gets `TRIAL` of the budget; the best by Dice on the held-out part gets what is left.
    """
    clock = Clock(budget_s)
    fitting, held_out = halves(scene)
    tried = []
    for k, factor in enumerate(f for f in FACTORS if min(scene.truth.shape[1:]) >= 32 * f):
        net = _Training(fitting, factor, seed)
        net.run(lambda k=k: clock.used() < TRIAL * (k + 1), lambda: 1.0)
        tried.append((_dice(net.net(held_out.image), held_out), net))
    _, best = max(tried, key=lambda pair: pair[0])
    begun = clock.used()
    best.run(lambda: clock.used() < TRAINED, lambda: max(0.0, 1 - (clock.used() - begun) / (TRAINED - begun)))
    rule, _ = choose_rule(best.net(held_out.image), held_out, data)
    chosen = f"averaged {best.factor} x {best.factor}, {best.steps} steps, {rule}"
    return Peer(best.net, rule, typical_radius(scene.truth, data), data, chosen)


def _dice(evidence: np.ndarray, scene: Scene) -> float:
    """The best over a few thresholds."""
    truth = scene.truth > 0
    return max(count(evidence >= t, truth).f1 for t in np.linspace(0.1, 0.9, 9))


@dataclass(frozen=True)
class _Net:
    """A network at a resolution; overlapping tiles."""

    model: torch.nn.Module
    factor: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        coarse = scaled(averaged(image, self.factor))
        self.model.eval()
        planes = np.stack([self._plane(coarse[:, z]) for z in range(coarse.shape[1])])
        return restored(planes, self.factor, image.shape[1:])

    def _plane(self, plane: np.ndarray) -> np.ndarray:
        out = np.zeros(plane.shape[1:], np.float32)
        ends = [(n + 2 * HALO + -n % 32) for n in out.shape]
        padded = np.pad(
            plane,
            ((0, 0), *((HALO, end - n - HALO) for n, end in zip(out.shape, ends, strict=True))),
            mode="symmetric",
        )
        for y in range(0, out.shape[0], TILE):
            for x in range(0, out.shape[1], TILE):
                crop = torch.from_numpy(padded[None, :, y : y + TILE + 2 * HALO, x : x + TILE + 2 * HALO].copy())
                with torch.inference_mode():
                    answer = torch.sigmoid(self.model(crop))[0, 0, HALO:, HALO:].numpy()
                here = out[y : y + TILE, x : x + TILE]
                here[:] = answer[: here.shape[0], : here.shape[1]]
        return out


class _Training:
    """A network that learns for as long as it may."""

    def __init__(self, scene: Scene, factor: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.image = scaled(averaged(scene.image, factor))
        truth = averaged((scene.truth > 0)[None], factor)[0]
        known = np.ones_like(truth) if scene.known is None else averaged(scene.known[None], factor)[0]
        self.target, self.weight = truth, known.astype(np.float32)
        self.factor, self.steps, self.rng = factor, 0, np.random.default_rng(seed)
        model = smp.Unet(
            ENCODER,
            encoder_depth=DEPTH,
            encoder_weights=None,
            decoder_channels=DECODER,
            in_channels=len(self.image),
        )
        self.net, self.optimiser = _Net(model, factor), torch.optim.Adam(model.parameters(), RATE)

    def run(self, more: Callable[[], bool], rate: Callable[[], float]) -> None:
        """Steps while ``more()``, at ``rate()`` of the learning rate."""
        model = self.net.model.train()
        for image, target, weight in self._batches():
            if not more():
                return
            for group in self.optimiser.param_groups:
                group["lr"] = RATE * rate()
            answer = model(image)
            bce = torch.nn.functional.binary_cross_entropy_with_logits(answer, target, weight)
            p = torch.sigmoid(answer) * weight
            dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + (target * weight).sum() + 1)
            self.optimiser.zero_grad()
            (bce + dice).backward()
            self.optimiser.step()
            self.steps += 1

    def _batches(self) -> Iterator[tuple[torch.Tensor, ...]]:
        inside = np.argwhere(self.target > 0.5)
        while True:
            crops = [self._crop(inside if k % 2 else None) for k in range(BATCH)]
            yield tuple(torch.from_numpy(np.stack(parts)) for parts in zip(*crops, strict=True))

    def _crop(self, inside: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Image, target and weight; half of the crops hold a labelled pixel."""
        shape = self.target.shape
        size = [min(SIDE, n // 32 * 32) for n in shape[1:]]
        z, *at = self.rng.integers(0, shape) if inside is None else inside[self.rng.integers(len(inside))]
        low = [int(np.clip(a - self.rng.integers(0, s), 0, n - s)) for a, s, n in zip(at, size, shape[1:], strict=True)]
        here = (slice(low[0], low[0] + size[0]), slice(low[1], low[1] + size[1]))
        parts = (self.image[(slice(None), z, *here)], self.target[(z, *here)][None], self.weight[(z, *here)][None])
        turn, mirror = int(self.rng.integers(4)) if size[0] == size[1] else 0, self.rng.random() < 0.5
        parts = tuple(np.rot90(p, turn, (-2, -1)) for p in parts)
        return tuple((p[..., ::-1] if mirror else p).astype(np.float32, copy=True) for p in parts)
