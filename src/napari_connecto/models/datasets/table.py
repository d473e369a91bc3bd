"""Which data sets a domain can be built from, and what is known of each; no library is loaded.

Organism, modality, citation, voxel size and terms are as the loader's source (torch_em 0.10.9) states them, else as the
cited publication does. Terms that neither states are "": then ask the authors before you pass weights on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_connecto.core.geometry import FVec3, Vec3

SIDE, SECTIONS = 768, 64
"""Extent in y and x and in z, voxels, of the block that is taken of a volume too large to download."""


@dataclass(frozen=True)
class Part:
    """A file that a loader downloads: its name in the data's folder, and where in the loader's tables it stands.

    Parameters
    ----------
    url, checksum
        Name of a constant of the loader's module, and the keys that lead to the entry.
    """

    name: str
    url: tuple[str, ...]
    checksum: tuple[str, ...]


@dataclass(frozen=True)
class EmDataset:
    """A data set.

    Parameters
    ----------
    voxel_nm
        (z, y, x).
    licence
        Terms of the data; "" if they are not stated.
    module, function, arguments
        ``function(folder, download=True, **arguments)`` of ``torch_em.data.datasets.electron_microscopy.module``
        gives the path of one file, or those of images and of labels.
    raw, labels
        Arrays in the files.
    parts
        What the loader downloads as files; () if it reads a block from an image server.
    block
        Extent (z, y, x) of that block.
    needs
        Package that the loader needs besides.
    """

    name: str
    organism: str
    tissue: str
    modality: str
    voxel_nm: FVec3
    licence: str
    citation: str
    module: str
    function: str
    raw: str
    labels: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    block: Vec3 | None = None
    needs: str = ""

    @property
    def most_bytes(self) -> int:
        """Of a block: its voxels, one byte each, and its labels, eight."""
        return 0 if self.block is None else 9 * self.block[0] * self.block[1] * self.block[2]


def _cremi(sample: str) -> EmDataset:
    keys = ("cropped", sample)
    return EmDataset(
        f"cremi-{sample.lower()}", "Drosophila melanogaster", "adult brain", "ssTEM", (40.0, 4.0, 4.0), "",
        "CREMI challenge, MICCAI 2016, https://cremi.org", "cremi", "get_cremi_paths", "volumes/raw",
        "volumes/labels/neuron_ids", {"samples": (sample,)},
        (Part(f"sample{sample}.h5", ("CREMI_URLS", *keys), ("CHECKSUMS", *keys)),),
    )  # fmt: skip


def _fib25(sample: str, name: str) -> EmDataset:
    files = (("raw.h5", "raw"), ("groundtruth.h5", "labels"))
    return EmDataset(
        name, "Drosophila melanogaster", "medulla", "FIB-SEM", (10.0, 10.0, 10.0), "",
        "Takemura et al. 2015, https://doi.org/10.1073/pnas.1509820112", "fib25", "get_fib25_paths", "raw",
        "neuron_ids", {"samples": (sample,)},
        tuple(Part(f"{sample}/{file}", ("URLS", sample, key), ("CHECKSUMS", sample, key)) for file, key in files),
    )  # fmt: skip


def _cortex(sample: str, organism: str, tissue: str, voxel_nm: FVec3, shape: Vec3) -> EmDataset:
    """A block in the middle of a volume of Loomba et al."""
    starts = [(n - k) // 2 for n, k in zip(shape, (SECTIONS, SIDE, SIDE), strict=True)]
    ends = [a + k for a, k in zip(starts, (SECTIONS, SIDE, SIDE), strict=True)]
    box = tuple(v for pair in zip(starts, ends, strict=True) for v in pair)
    return EmDataset(
        sample.replace("_", "-"), organism, tissue, "volume EM", voxel_nm, "",
        "Loomba et al. 2022, https://doi.org/10.1126/science.abo0924", "cortex_connectomics",
        "get_cortex_connectomics_paths", "raw", "labels", {"bounding_boxes": [box], "sample": sample},
        block=(SECTIONS, SIDE, SIDE),
    )  # fmt: skip


_ALL = (
    EmDataset(
        "isbi2012", "Drosophila melanogaster", "larval ventral nerve cord", "ssTEM", (50.0, 4.0, 4.0),
        "non-commercial", "Arganda-Carreras et al. 2015, https://doi.org/10.3389/fnana.2015.00142", "isbi2012",
        "get_isbi_paths", "raw", "labels/gt_segmentation", {},
        (Part("isbi.h5", ("ISBI_URL",), ("CHECKSUM",)),),
    ),
    EmDataset(
        "snemi", "Mus musculus", "somatosensory cortex", "ATUM-SEM", (30.0, 6.0, 6.0), "images ODC-By 1.0",
        "Kasthuri et al. 2015, https://doi.org/10.1016/j.cell.2015.06.054", "snemi", "get_snemi_paths", "volumes/raw",
        "volumes/labels/neuron_ids", {"sample": "train"},
        (Part("snemi_train.h5", ("SNEMI_URLS", "train"), ("CHECKSUMS", "train")),),
    ),
    *(_cremi(sample) for sample in "ABC"),
    _fib25("training_sample2", "fib25"),
    _fib25("tstvol-520-1", "fib25-520"),
    EmDataset(
        "wafer4", "Mus musculus", "medial entorhinal cortex", "multi-beam SEM", (35.0, 8.0, 8.0), "CC BY-NC 4.0",
        "Liu et al. 2024, https://doi.org/10.1109/CVPR52733.2024.01056", "wafer4", "get_wafer4_paths", "main", "main",
        {}, tuple(Part(f"wafer4_{name}.h5", ("URLS", key), ("CHECKSUMS", key))
                  for name, key in (("inputs", "raw"), ("labels", "labels"))),
    ),
    _cortex("mouse_ppc", "Mus musculus", "posterior parietal cortex", (30.0, 12.0, 12.0), (4864, 12032, 12032)),
    _cortex("macaque_s1", "Macaca", "somatosensory cortex", (30.0, 11.24, 11.24), (3359, 19544, 14942)),
    _cortex("human_stg", "Homo sapiens", "superior temporal gyrus", (30.0, 11.24, 11.24), (3759, 19260, 14845)),
    EmDataset(
        "human-h01", "Homo sapiens", "temporal cortex", "serial-section EM", (33.0, 8.0, 8.0), "",
        "Shapson-Coe et al. 2024, https://doi.org/10.1126/science.adk4858", "human_cortex_h01",
        "get_human_cortex_h01_paths", "raw", "labels",
        {"bounding_boxes": [(272000, 272768, 202368, 203136, 2614, 2678)]}, block=(SECTIONS, SIDE, SIDE),
        needs="cloud-volume",
    ),
    EmDataset(
        "zebrafinch", "Taeniopygia guttata", "area X", "volume EM", (20.0, 10.0, 10.0), "",
        "Kornfeld lab 2025, https://doi.org/10.1101/2025.10.25.684569", "zebrafinch", "get_zebrafinch_data", "raw",
        "labels", {"bounding_box": (49480, 57160, 50720, 58400, 56360, 57640), "dataset": "j0126"},
        block=(SECTIONS, SIDE, SIDE), needs="cloud-volume",
    ),
    EmDataset(
        "hemibrain", "Drosophila melanogaster", "central brain", "FIB-SEM", (8.0, 8.0, 8.0), "",
        "Scheffer et al. 2020, https://doi.org/10.7554/eLife.57443", "hemibrain", "get_hemibrain_paths", "raw",
        "labels", {"bounding_boxes": [(15384, 15640, 18384, 18640, 18384, 18640)]}, block=(256, 256, 256),
        needs="cloud-volume",
    ),
)  # fmt: skip
DATASETS: Mapping[str, EmDataset] = {entry.name: entry for entry in _ALL}
"""By name, ``torch_em:NAME``."""
