"""Real EM with neuron boundaries, each in a part to learn from and a part to report on, in our label numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import tifffile

from napari_connecto.core.geometry import FVec3
from napari_connecto.core.volume import Level, Volume

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAPARI_CONNECTO_DATA", HERE.parent / "../shared/data")).resolve()

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """One source or target.

    Parameters
    ----------
    read
        "train" or "test" to image and labels (z, y, x); sections apart as the data's README asks.
    terms
        Source and licence; ``ships`` whether derived weights may be distributed.
    """

    name: str
    voxel_nm: FVec3
    read: Callable[[str], Arrays]
    organism: str
    tissue: str
    modality: str
    terms: str
    ships: bool

    def volume(self, part: str) -> tuple[Volume, Volume]:
        """Image and labels as volumes of one level."""
        image, labels = self.read(part)
        levels = [Level(array, self.voxel_nm) for array in (image, labels)]
        return Volume((levels[0],), name=self.name), Volume((levels[1],), name=f"{self.name} labels", kind="labels")


def _tif(path: str) -> np.ndarray:
    return tifffile.imread(DATA / path)


def _instances(ids: np.ndarray) -> np.ndarray:
    return np.where(ids > 0, ids.astype(np.uint32) + 2, 1)


def sections(mask: np.ndarray) -> np.ndarray:
    """Membranes (not 0) to instances, section by section: what hangs together between membranes."""
    out = np.ones(mask.shape, np.uint32)
    count = 2
    for plane, found in zip(mask, out, strict=True):
        parts = cc3d.connected_components(np.ascontiguousarray(plane == 0), connectivity=4).astype(np.uint32)
        found[parts > 0] = parts[parts > 0] + count
        count += int(parts.max())
    return out


def flyem(part: str) -> Arrays:
    """z 0-124 train, 135-249 test."""
    here = slice(0, 125) if part == "train" else slice(135, 250)
    return _tif("flyem_medulla/image.tif")[here], _instances(_tif("flyem_medulla/neurons.tif")[here])


def isbi(part: str) -> Arrays:
    """Sections 0-19 train, 22-29 test; 2-D truth."""
    here = slice(0, 20) if part == "train" else slice(22, 30)
    return _tif("isbi2012/image.tif")[here], sections(_tif("isbi2012/membrane.tif")[here])


def epfl(part: str) -> Arrays:
    """Scattered sections by z position, below 80 train, from 100 on test; 2-D truth."""
    at = np.array(json.loads((DATA / "epfl_ca1/slice_z.json").read_text()))
    here = at < 80 if part == "train" else at >= 100
    return _tif("epfl_ca1/image.tif")[here], sections(_tif("epfl_ca1/membranes.tif")[here])


def snemi(part: str) -> Arrays:
    """The labelled corner, sections 0-19 train, 22-31 test; label 1 is background."""
    here = slice(0, 20) if part == "train" else slice(22, 32)
    ids = _tif("snemi_crop/neurons_z0-32_y0-160_x0-160.tif")[here]
    return _tif("snemi_crop/image.tif")[here, :160, :160], np.where(ids > 1, ids.astype(np.uint32) + 1, 1)


def rat(part: str) -> Arrays:
    """Axons in white matter: rats 1-3 train, 4 and 5 test; myelin and background are boundary, each axon an instance.

    One section per image, cut to the same size; pixels of 70 to 180 nm are taken as they are.
    """
    names = sorted((DATA / "rat_sem_axons").glob("*_truth.tif"))
    chosen = [n for n in names if (n.name[:8] in ("sub-rat4", "sub-rat5")) == (part == "test")]
    pairs = [(tifffile.imread(str(n).replace("_truth", "")), tifffile.imread(n)) for n in chosen]
    size = [min(a.shape[i] for a, _ in pairs) for i in (0, 1)]
    image, truth = (np.stack([p[k][: size[0], : size[1]] for p in pairs]) for k in (0, 1))
    return image, sections(truth != 2)


DATASETS = {
    d.name: d
    for d in (
        Dataset(
            "fly-medulla",
            (10.0, 10.0, 10.0),
            flyem,
            "Drosophila melanogaster",
            "optic lobe, medulla (adult)",
            "FIB-SEM",
            "CC BY 3.0, Janelia FlyEM, janelia-flyem/neuroproof_examples",
            True,
        ),
        Dataset(
            "fly-larva",
            (50.0, 4.0, 4.0),
            isbi,
            "Drosophila melanogaster",
            "ventral nerve cord (larva)",
            "ssTEM",
            "non-commercial, Cardona et al. 2010, ISBI 2012 challenge",
            False,
        ),
        Dataset(
            "mouse-ca1",
            (5.0, 5.0, 5.0),
            epfl,
            "rodent",
            "hippocampus CA1",
            "FIB-SEM",
            "labels MIT, terms of the images unknown (EPFL)",
            False,
        ),
        Dataset(
            "mouse-cortex",
            (30.0, 6.0, 6.0),
            snemi,
            "Mus musculus",
            "somatosensory cortex",
            "ATUM-SEM",
            "images ODC-By 1.0, terms of the labels unclear (SNEMI3D, Kasthuri et al. 2015)",
            False,
        ),
        Dataset(
            "rat-axons",
            (100.0, 100.0, 100.0),
            rat,
            "Rattus norvegicus",
            "spinal cord, white matter",
            "SEM",
            "MIT, axondeepseg/data_axondeepseg_sem",
            True,
        ),
    )
}
