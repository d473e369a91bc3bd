"""Real images as pyramids with truth, each in a part to learn from and a part to report on.

What is made is said: dsb2018 and kidney scenes are mosaics (real patches on an empty canvas), and voxel sizes that the
sources do not state are nominal.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cc3d
import h5py
import numpy as np
import tifffile
from skimage.io import imread

import napari_connecto as nc
from napari_connecto.core.volume import Level, Volume

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAPARI_CONNECTO_DATA", HERE.parent / "../shared/data")).resolve()
CACHE = HERE / "cache"

Part = tuple[Volume, Volume]


@dataclass(frozen=True)
class Task:
    """One row group of the table.

    Parameters
    ----------
    kind
        Which of the paper's three tasks.
    make
        Image and labels of the "train" or the "test" part.
    params
        Of the training; chosen on the training part.
    metric
        "F1" of objects or "Dice" of masks: what the accuracy column shows.
    wide
        A larger chunk for one level alone, which spends less on halo; the fastest of both is the honest rival.
    note
        What a reader must know of the truth.
    """

    kind: str
    make: Callable[[str], Part]
    params: nc.TrainParams
    metric: str
    wide: tuple[int, int, int]
    note: str


def _pyramid(name: str, array: np.ndarray, voxel_nm: tuple[float, float, float], levels: int) -> Volume:
    path = CACHE / f"{name}.ome.zarr"
    if not path.exists():
        nc.save_volume(Volume((Level(array, voxel_nm),), name=name), path, levels=levels)
    return nc.open_volume(path, channel="all" if array.ndim == 4 else None)


def _labels(array: np.ndarray, voxel_nm: tuple[float, float, float], name: str = "truth") -> Volume:
    return Volume((Level(array, voxel_nm),), name=name, kind="labels")


def nuclei(part: str, side: int = 4096, coverage: float = 0.1) -> Part:
    """dsb2018: `nuclei_mosaic` as a pyramid."""
    image, truth = nuclei_mosaic(part, side, coverage)
    voxel = (1000.0, 500.0, 500.0)
    return _pyramid(f"nuclei_{part}", image, voxel, 4), _labels(truth, voxel)


def nuclei_mosaic(part: str, side: int, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and instances (1, y, x): 256 x 256 parts of the fluorescence images on a dark canvas.

    Even images train, odd ones test. The canvas is ``side`` wide, three quarters of it to train, and ``coverage`` is
    the share of it that images fill.
    """
    rng = np.random.default_rng(0 if part == "train" else 1)
    side = side * 3 // 4 if part == "train" else side
    cells = [(y, x) for y in range(0, side - 255, 256) for x in range(0, side - 255, 256)]
    spots = rng.permutation(len(cells))[: round(coverage * len(cells))]
    image, truth, count, spreads = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint32), 0, []
    filled = np.zeros((side, side), bool)
    with h5py.File(DATA / "dsb2018_fluorescence/nuclei.h5") as file:
        names = sorted(file)[0 if part == "train" else 1 :: 2]
        for spot, name in zip(spots, rng.permutation(names), strict=False):
            picture, ids = _window(file[name]["image"][...], file[name]["nuclei"][...], rng)
            dark = picture[ids == 0]
            low = float(np.median(dark))
            spreads.append(1.4826 * float(np.median(np.abs(dark - low))))
            y, x = cells[spot]
            here = (slice(y, y + picture.shape[0]), slice(x, x + picture.shape[1]))
            image[here], filled[here] = picture - low, True
            truth[here] = np.where(ids > 0, ids.astype(np.uint32) + count, 0)
            count += int(ids.max())
    noise = rng.standard_normal(image.shape, np.float32) * max(1.0, float(np.median(spreads)))
    image = np.clip(np.rint(np.where(filled, image, noise) + 10), 0, 255).astype(np.uint8)
    return image[None], truth[None]


def _window(picture: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = (int(rng.integers(0, max(1, n - 255))) for n in picture.shape)
    here = (slice(y, y + 256), slice(x, x + 256))
    return picture[here].astype(np.float32), ids[here]


def brain_cells(part: str) -> Part:
    """cellfinder's crop: centres that cellfinder itself found; x below 190 trains, x from 200 on tests."""
    image = tifffile.imread(DATA / "cellfinder_brain/crop/signal.tif")
    here = slice(0, 190) if part == "train" else slice(200, None)
    voxel = (5000.0, 2000.0, 2000.0)
    truth = np.zeros(image.shape, np.uint32)
    markers = ElementTree.parse(DATA / "cellfinder_brain/crop/cellfinder_output.xml").iter("Marker")
    for n, marker in enumerate(markers, start=1):
        z, y, x = (int(marker.findtext(f"Marker{axis}")) for axis in "ZYX")  # type: ignore[arg-type]
        truth[max(0, z - 1) : z + 2, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = n
    return _pyramid(f"brain_{part}", image[..., here], voxel, 3), _labels(truth[..., here], voxel)


def sbem(part: str) -> Part:
    """cdeep3m: sections 0-13 train, 15-19 test."""
    here = slice(0, 14) if part == "train" else slice(15, 20)
    image, truth = (tifffile.imread(DATA / f"cdeep3m_mito/{n}.tif")[here] for n in ("image", "mitochondria"))
    voxel = (60.0, 10.0, 10.0)
    return _pyramid(f"sbem_{part}", image, voxel, 3), _labels(truth, voxel)


def fibsem(part: str) -> Part:
    """EPFL CA1: single sections by z position, below 80 to train, from 100 on to test; objects are per section."""
    at = np.array(json.loads((DATA / "epfl_ca1/slice_z.json").read_text()))
    here = at < 80 if part == "train" else at >= 100
    image, mask = (tifffile.imread(DATA / f"epfl_ca1/{n}.tif")[here] for n in ("image", "mitochondrion"))
    voxel = (1000.0, 5.0, 5.0)
    return _pyramid(f"fibsem_{part}", image, voxel, 4), _labels(per_section(mask), voxel)


def per_section(mask: np.ndarray) -> np.ndarray:
    """Connected parts of each section by itself, numbered on."""
    out, count = np.zeros(mask.shape, np.uint32), 0
    for z, plane in enumerate(mask):
        labels = cc3d.connected_components(plane > 0, connectivity=8).astype(np.uint32)
        out[z] = np.where(labels > 0, labels + count, 0)
        count += int(labels.max())
    return out


def glomeruli(part: str, side: int = 8192) -> Part:
    """kidney_pas: the labelled centres of two patches each, turned and mirrored, on a slide's glass: a mosaic.

    At a quarter of the resolution: a glomerulus is 100 to 150 pixels wide, more than a small network sees.
    """
    names = ("Adenine", "NTN") if part == "train" else ("Alport", "Healthy")
    rng = np.random.default_rng(0 if part == "train" else 1)
    image = np.clip(242 + rng.standard_normal((3, side, side), np.float32) * 2, 0, 255).astype(np.uint8)
    truth = np.zeros((side, side), np.uint8)
    room = side // 546
    spots = rng.permutation(room * room)
    for n, spot in enumerate(spots[: len(spots) // 3]):
        name = names[n % 2]
        picture = imread(DATA / f"kidney_pas/{name}.png")[62:578, 62:578].transpose(2, 0, 1)
        colours = imread(DATA / f"kidney_pas/{name}-labels.png")
        mask = np.logical_or((colours == (0, 0, 255)).all(-1), (colours == (0, 255, 0)).all(-1))
        turn = int(rng.integers(8))
        picture, mask = (np.rot90(a, turn % 4, (-2, -1)) for a in (picture, mask))
        if turn >= 4:
            picture, mask = picture[..., ::-1], mask[..., ::-1]
        y, x = spot // room * 546 + 15, spot % room * 546 + 15
        image[:, y : y + 516, x : x + 516], truth[y : y + 516, x : x + 516] = picture, mask
    cells = image.reshape(3, side // 4, 4, side // 4, 4).mean(axis=(2, 4))
    image, truth = np.rint(cells).astype(np.uint8), truth[2::4, 2::4]
    voxel = (1000.0, 2000.0, 2000.0)
    return _pyramid(f"glomeruli_{part}", image[:, None], voxel, 4), _labels(truth[None], voxel)


TASKS = {
    "dsb2018 nuclei, mosaic": Task(
        "fluorescent cells",
        nuclei,
        nc.TrainParams(name="nuclei", head="masks", dims="2d", levels=3, steps=120),
        "F1",
        (1, 256, 256),
        "mosaic; human truth",
    ),
    "cellfinder crop": Task(
        "fluorescent cells",
        brain_cells,
        nc.TrainParams(name="brain-cells", head="centres", levels=2, steps=120),
        "F1",
        (16, 128, 128),
        "agreement with a peer's answer, no human truth",
    ),
    "cdeep3m mitochondria": Task(
        "organelles",
        sbem,
        nc.TrainParams(name="sbem", dims="2d", levels=3, steps=300),
        "Dice",
        (1, 256, 256),
        "human truth",
    ),
    "EPFL CA1 mitochondria": Task(
        "organelles",
        fibsem,
        nc.TrainParams(name="fibsem", dims="2d", levels=3, steps=300),
        "Dice",
        (1, 256, 256),
        "human truth",
    ),
    "kidney glomeruli, mosaic": Task(
        "tissue",
        glomeruli,
        nc.TrainParams(name="glomeruli", dims="2d", levels=3, steps=300),
        "Dice",
        (1, 256, 256),
        "mosaic on glass; 3 glomeruli to learn from, 2 to report on",
    ),
}
