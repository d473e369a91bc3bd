"""Labelled real images for `detectors.py`: a part to learn from, and a part to report on that nothing was chosen by.

Where the sections of a dataset are single images, or far apart, each is an image of its own: objects are counted per
section, and the distance of sections is nominal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import cc3d
import numpy as np
import tifffile
from _real_data import DATA, nuclei_mosaic, per_section
from skimage.io import imread

from napari_connecto.core.geometry import FVec3
from napari_connecto.core.volume import Level, Volume

APART = 1000.0
"""Nominal distance of sections that are images of their own, relative to pixels of a few units."""


@dataclass(frozen=True)
class Scene:
    """An image with its truth.

    Parameters
    ----------
    image
        (c, z, y, x).
    truth
        (z, y, x), 0 for background, else the number of an object.
    known
        (z, y, x), False where nobody can tell; None: known everywhere.
    """

    image: np.ndarray
    truth: np.ndarray
    known: np.ndarray | None = None

    def part(self, z: slice, y: slice = slice(None)) -> Scene:
        """Sections, or rows of them."""
        known = None if self.known is None else self.known[z, y]
        return Scene(self.image[:, z, y], self.truth[z, y], known)

    def grey(self) -> Scene:
        """The brightest channel of each voxel."""
        return replace(self, image=self.image.max(axis=0, keepdims=True))

    def volumes(self, voxel_nm: FVec3, name: str) -> tuple[Volume, Volume]:
        """Image and labels as volumes of one level."""
        image = self.image if len(self.image) > 1 else self.image[0]
        level = Level(image, voxel_nm)
        return Volume((level,), name=name), Volume((Level(self.truth, voxel_nm),), name="truth", kind="labels")


@dataclass(frozen=True)
class Data:
    """A dataset.

    Parameters
    ----------
    read
        "train" to one scene, "test" to the scenes of the report.
    voxel_nm
        (z, y, x); nominal where the source states none.
    flat
        Whether each section is an image of its own.
    objects
        Whether objects can be told apart, so that they can be counted.
    patch
        Side of the images that a mosaic is made of, for methods that look at each by itself.
    note
        What a reader must know of the parts and the truth.
    """

    read: Callable[[str], list[Scene]]
    voxel_nm: FVec3
    flat: bool
    objects: bool = True
    patch: int | None = None
    note: str = ""


def _stack(folder: str, image: str, truth: str, here: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(tifffile.imread(DATA / folder / f"{name}.tif")[here] for name in (image, truth))  # type: ignore[return-value]


def epfl(part: str) -> list[Scene]:
    """Single sections by z position, below 80 to train, from 100 on to report."""
    at = np.array(json.loads((DATA / "epfl_ca1/slice_z.json").read_text()))
    image, mask = _stack("epfl_ca1", "image", "mitochondrion", at < 80 if part == "train" else at >= 100)
    return [Scene(image[None], per_section(mask))]


def isbi(part: str) -> list[Scene]:
    """Sections 0-19 to train, 22-29 to report; objects in 3-D."""
    image, ids = _stack("isbi2012", "image", "mitochondria", slice(0, 20) if part == "train" else slice(22, 30))
    return [Scene(image[None], ids.astype(np.uint32))]


def cdeep3m(part: str) -> list[Scene]:
    """Sections 0-13 to train, 15-19 to report; objects in 3-D, the connected parts of the mask."""
    here = slice(0, 14) if part == "train" else slice(15, 20)
    image, mask = _stack("cdeep3m_mito", "image", "mitochondria", here)
    return [Scene(image[None], cc3d.connected_components(mask > 0, connectivity=26).astype(np.uint32))]


def nuclei(part: str) -> list[Scene]:
    """256 x 256 parts of fluorescence images side by side, a mosaic; half of the images to train, half to report."""
    image, truth = nuclei_mosaic(part, side=2048, coverage=1.0)
    return [Scene(image[None], truth)]


def neurons(part: str) -> list[Scene]:
    """One yellow and one red image each: brain slices with sparse fluorescent cells."""
    names = {
        "train": ("yellow_Mar23bS1C2R3_VLPAGr_200x", "red_MAR31S1C1R2_DMHr_200x_r"),
        "test": ("yellow_Mar24bS1C2R3_LHl_200x", "red_RT353S2C1R5_r1"),
    }[part]
    images = [imread(DATA / f"fnc_neurons/{name}_image.png")[..., :3].transpose(2, 0, 1) for name in names]
    masks = [per_section(imread(DATA / f"fnc_neurons/{name}_mask.png")[None] > 127) for name in names]
    return _one_or_each(part, images, [mask[0] for mask in masks])


def axons(part: str) -> list[Scene]:
    """Axons without their myelin, rats 1-3 to train (cut to one size), 4 and 5 to report; pixels as they are."""
    names = sorted((DATA / "rat_sem_axons").glob("*_truth.tif"))
    chosen = [n for n in names if (n.name[:8] in ("sub-rat4", "sub-rat5")) == (part == "test")]
    images = [tifffile.imread(str(n).replace("_truth", ""))[None] for n in chosen]
    return _one_or_each(part, images, [per_section((tifffile.imread(n) == 2)[None])[0] for n in chosen])


def trailmap(part: str) -> list[Scene]:
    """Sections 17 and 48 to train, 77 to report: thin axons; pixels labelled as an edge count neither way."""
    at = np.array([17, 48] if part == "train" else [77])
    image, labels = _stack("trailmap_axons", "image", "labels", at)
    return [Scene(image[None], per_section(labels == 2), labels != 4)]


def _one_or_each(part: str, images: list[np.ndarray], truths: list[np.ndarray]) -> list[Scene]:
    """Images (c, y, x) with truth (y, x): to train, stacked as sections of the smallest size; to report, one by one."""
    if part == "test":
        return [Scene(image[:, None], truth[None]) for image, truth in zip(images, truths, strict=True)]
    y, x = (min(truth.shape[axis] for truth in truths) for axis in (0, 1))
    stacked = np.stack([image[:, :y, :x] for image in images], axis=1)
    return [Scene(stacked, per_section(np.stack([truth[:y, :x] for truth in truths])))]


DATASETS = {
    "epfl_ca1 mitochondria": Data(epfl, (APART, 5.0, 5.0), True, note="single sections, far apart"),
    "isbi2012 mitochondria": Data(isbi, (50.0, 4.0, 4.0), False, note="objects in 3-D"),
    "cdeep3m mitochondria": Data(cdeep3m, (60.0, 10.0, 10.0), False, note="objects in 3-D; nominal voxels"),
    "dsb2018 nuclei": Data(nuclei, (APART, 1.0, 1.0), True, patch=256, note="mosaic"),
    "fnc neurons": Data(neurons, (APART, 1.0, 1.0), True, note="two images to train, two to report"),
    "rat_sem axons": Data(axons, (APART, 1.0, 1.0), True, note="other rats; pixels of 70 to 180 nm taken as equal"),
    "trailmap axons": Data(
        trailmap, (APART, 1.0, 1.0), True, objects=False, note="two sections of 120 x 120 to train, one to report"
    ),
}
