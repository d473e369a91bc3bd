"""Train the volumetric model of the domain fly-medulla: ``python sample_data/train_volumetric.py [CPU SECONDS]``.

Needs the real data (``NAPARI_CONNECTO_DATA`` or ``../shared/data``) and a CPU with bfloat16. It learns from z 0 to 92
of FlyEM medulla (CC BY 3.0), cubes of 10 nm. The one that ships took 5200 steps in 1800 s of CPU time (Intel Xeon with
AMX, torch 2.14). Its share in the average was chosen on z 98 to 134, and checked again on z 93 to 134.
"""

from __future__ import annotations

import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.models.files import new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.losses import mixed_loss
from napari_connecto.workflows.segment.volumetric import VOLUMETRIC

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _em_data import _tif

END, SIDE, BATCH, PEAK, WARM = 93, 72, 2, 3e-3, 0.05
TERMS = "CC BY 3.0, Janelia FlyEM, janelia-flyem/neuroproof_examples"
NETWORK = {
    "kind": "unet",
    "dims": 3,
    "width": 16,
    "depth": 4,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "residual": 1,
    "fold": [2, 2, 2],
    "half": True,
}
CARD = ModelCard(
    name="fly-medulla, volumetric",
    task="boundary",
    voxel_nm=(10.0, 10.0, 10.0),
    tile=(64, 64, 64),
    halo=(16, 16, 16),
    outputs=(Output("boundary"),),
    normalisation=Normalisation("percentile", 1.0, 99.0),
    network=NETWORK,
    training=TERMS,
    licence="CC BY 3.0",
)


def walls(ids: np.ndarray) -> np.ndarray:
    """Both sides of every face between two instances, along all axes."""
    found = np.zeros(ids.shape, bool)
    for axis in range(3):
        along, out = np.moveaxis(ids, axis, 0), np.moveaxis(found, axis, 0)
        differ = along[1:] != along[:-1]
        out[1:] |= differ
        out[:-1] |= differ
    return found


def crop(image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random cube in one of its 48 orientations, with changed intensity, blur and noise."""
    start = [rng.integers(0, n - SIDE + 1) for n in image.shape]
    here = tuple(slice(a, a + SIDE) for a in start)
    axes = rng.permutation(3)
    x, y = image[here].transpose(axes), target[here].transpose(axes)
    for axis in range(3):
        if rng.random() < 0.5:
            x, y = np.flip(x, axis), np.flip(y, axis)
    x = x.copy()
    if rng.random() < 0.7:
        x = (x - 0.5) * rng.uniform(0.75, 1.25) + 0.5 + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.35:
        x = np.clip(x, 0, 1.2) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.25:
        x = ndimage.gaussian_filter(x, rng.uniform(0.3, 1.0))
    if rng.random() < 0.4:
        x = x + rng.normal(0, rng.uniform(0, 0.08), x.shape)
    return x.astype(np.float32), y.astype(np.float32)


def rate(share: float) -> float:
    """Learning rate after a share of the time: a short rise, then half a cosine."""
    rise = min(1.0, share / WARM)
    return max(1e-6, PEAK * (rise if share < WARM else 0.5 * (1 + np.cos(np.pi * (share - WARM) / (1 - WARM)))))


def train(image: np.ndarray, target: np.ndarray, seconds: float) -> TorchPredictor:
    """Mean of the weights over training, decaying by 1 % a step."""
    net = deepcopy(new_model(CARD, 0, device="cpu").net).train().to(memory_format=torch.channels_last_3d)
    mean, rng = deepcopy(net), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(net.parameters(), PEAK, weight_decay=1e-4)
    started, step = time.process_time(), 0
    while (share := (time.process_time() - started) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate(share)
        pairs = [crop(image, target, rng) for _ in range(BATCH)]
        x, y = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*pairs, strict=True))
        with torch.autocast("cpu", torch.bfloat16):
            answer = net(x.contiguous(memory_format=torch.channels_last_3d))
        loss = mixed_loss(answer.float(), y, torch.ones_like(y), 0.5)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        _follow(mean, net, min(0.99, (1 + step) / (10 + step)))
        if step % 50 == 0:
            print(f"{step} steps, {share:.0%}, loss {loss.item():.3f}", flush=True)
    return TorchPredictor(CARD, mean.eval(), "cpu")


@torch.no_grad()
def _follow(mean: torch.nn.Module, net: torch.nn.Module, decay: float) -> None:
    for old, new in zip(mean.parameters(), net.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
    for old, new in zip(mean.buffers(), net.buffers(), strict=True):
        old.copy_(new)


def main(folder: Path, seconds: float) -> None:
    """Train and save."""
    torch.set_num_threads(1)
    image = _tif("flyem_medulla/image.tif")[:END].astype(np.float32)
    low, high = np.percentile(image, (1, 99))
    model = train((image - low) / (high - low), walls(_tif("flyem_medulla/neurons.tif")[:END]), seconds)
    save_model(model, folder, overwrite=True)


if __name__ == "__main__":
    shipped = Path(__file__).parent / "shipped" / "domains" / "fly-medulla" / VOLUMETRIC
    main(shipped, float(sys.argv[1]) if sys.argv[1:] else 1800.0)
