"""Scenes of any prevalence from real nuclei, and a detector of realistic cost for them.

The scene is a mosaic: small pieces of dsb2018 images, each around one nucleus, on a dark canvas with matching noise.
The detector is a stand-in: its answer is a smoothed threshold, its time that of a U-Net with a ResNet encoder and
random weights, run on every tile. So it is right or wrong on real nuclei as a threshold is, and slow as such networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import h5py
import numpy as np
import segmentation_models_pytorch as smp
import torch
from _real_data import DATA
from scipy import ndimage

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.pyramid import downsample
from napari_connecto.models.inference.device import cores
from napari_connecto.models.inference.predictor import one_thread

NM = (1000.0, 500.0, 500.0)
CHUNK, PIECE, LEVELS = 128, 48, 4
OUT = 0.05
"""Logistic of the stand-in: half at this grey value (of 1)."""


class StandIn:
    """A threshold on the smoothed image, at the cost of a U-Net; ``net`` None: at none."""

    def __init__(self, tile: Vec3 = (1, CHUNK, CHUNK), net: torch.nn.Module | None = None) -> None:
        own = Normalisation("range")
        self.card = ModelCard("stand-in", "detect", NM, tile, (0, 32, 32), (Output("p"),), normalisation=own)
        self.net, self.calls, self.digest = net, cores(), "stand-in"

    def with_tile(self, tile: Vec3) -> StandIn:
        """The same with another tile."""
        return StandIn(tile, self.net)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        if self.net is not None:
            with one_thread(), torch.inference_mode():
                self.net(torch.from_numpy(np.ascontiguousarray(batch[:, :, 0])))
        smooth = ndimage.gaussian_filter(batch[:, 0], (0, 0, 2, 2), truncate=4)
        return {"p": (1 / (1 + np.exp(-(smooth - OUT) / 0.01))).astype(np.float32)}


def unet(encoder: str = "resnet18") -> torch.nn.Module:
    """A U-Net with random weights."""
    torch.manual_seed(0)
    return smp.Unet(encoder, encoder_weights=None, in_channels=1, classes=1).eval()


def scene(prevalence: float, part: str, seed: int, side: int = 3072) -> tuple[Volume, Volume]:
    """Image and labels, from train or test images; a share ``prevalence`` of the chunks hold a labelled voxel."""
    rng, pieces = np.random.default_rng([seed, part == "test"]), nuclei(part)
    image = 10 + 2 * rng.standard_normal((side, side), np.float32)
    truth, taken = np.zeros((side, side), np.uint32), np.zeros((side // PIECE, side // PIECE), bool)
    held, wanted = np.zeros((side // CHUNK,) * 2, bool), max(1, round(prevalence * (side // CHUNK) ** 2))
    for n, spot in enumerate(rng.permutation(taken.size), start=1):
        if held.sum() >= wanted:
            break
        y, x = (int(v) * PIECE for v in np.unravel_index(spot, taken.shape))
        picture, mask = pieces[int(rng.integers(len(pieces)))]
        here = (slice(y, y + PIECE), slice(x, x + PIECE))
        image[here] = np.maximum(image[here], picture + 10)
        truth[here] = np.where(mask, n, 0)
        rows, columns = np.nonzero(mask)
        held[(rows + y) // CHUNK, (columns + x) // CHUNK] = True
    levels, array, voxel = [], np.clip(np.rint(image), 0, 255).astype(np.uint8)[None], NM
    for _ in range(LEVELS):
        levels.append(Level(array, voxel))
        array, voxel = downsample(array, (1, 2, 2), "image"), (voxel[0], 2 * voxel[1], 2 * voxel[2])
    name = f"{part}-{prevalence}-{seed}"
    volume = Volume(tuple(levels), name=name, source=name, metadata={"revision": str(int(image.sum()))})
    return volume, Volume((Level(truth[None], NM),), name=f"{name}-truth", kind="labels")


@lru_cache(maxsize=2)
def nuclei(part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pieces around one nucleus each, background subtracted, and its mask; even images train, odd ones test."""
    found = []
    with h5py.File(DATA / "dsb2018_fluorescence/nuclei.h5") as file:
        for name in sorted(file)[0 if part == "train" else 1 :: 2]:
            picture, ids = file[name]["image"][...].astype(np.float32), file[name]["nuclei"][...]
            picture -= np.median(picture[ids == 0])
            for k, box in enumerate(ndimage.find_objects(ids.astype(int)), start=1):
                if box is None or max(s.stop - s.start for s in box) > PIECE - 8:
                    continue
                y, x = ((s.start + s.stop - PIECE) // 2 for s in box)
                if min(y, x) < 0 or y + PIECE > ids.shape[0] or x + PIECE > ids.shape[1]:
                    continue
                here, mask = (slice(y, y + PIECE), slice(x, x + PIECE)), ids[y : y + PIECE, x : x + PIECE] == k
                bright = picture[here][mask].mean() >= 20 and mask.sum() >= 60
                if bright:  # its neighbours are cut away, so that one nucleus is one object
                    near = ndimage.binary_dilation(mask, iterations=3)
                    found.append((np.where(near, picture[here], 0), mask))
    return found
