"""Domains: boundary models, each with a description of its training data and a sample of its features.

A domain is a model's folder (card and weights) with ``domain.json`` (tissue, organism, modality, licence, segmentation
params) and ``features.npy``, so that comparing needs no source image (source-free, as in Sawmya et al., arXiv
2503.06196). The features of all domains of a library come from one encoder, whose digest they carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.shown import shown
from napari_connecto.io.disk import storing, write_json
from napari_connecto.io.packages.plain_data import safe_array, safe_arrays
from napari_connecto.models.files import Backend, load_model, read_card
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.sample_data import shipped_folder
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.shared.library import library_models

ABOUT, FEATURES, ENCODER, PATCHES = "domain.json", "features.npy", "encoder", "patches.npz"
OWN = "own_features.npz"
"""Sample of the training data in the model's own features, by place in the network."""


@shown
@dataclass(frozen=True)
class Domain:
    """A model, and what its training data look like.

    Parameters
    ----------
    folder
        Of the model.
    features
        (n, d) float32, one row per tissue patch of the training data.
    about
        ``encoder`` (digest), ``patch`` (voxels), ``organism``, ``tissue``, ``modality``, ``data`` (source and terms),
        ``segment`` (`SegmentParams` tuned on its training part).
    """

    name: str
    folder: Path
    card: ModelCard
    features: np.ndarray = field(repr=False)
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path) -> Domain:
        """A domain from its folder.

        Raises
        ------
        ModelError
            If something is missing or damaged.
        """
        folder = Path(folder)
        card = read_card(folder)
        try:
            about = parse_json((folder / ABOUT).read_bytes(), ABOUT, ModelError)
            features = safe_array((folder / FEATURES).read_bytes(), FEATURES)
        except (OSError, ModelError) as error:
            raise ModelError(
                f"'{folder}' is not a domain ({error}); it needs {ABOUT} and {FEATURES} beside the model. Make one "
                "with `napari-connecto domains train`"
            ) from error
        if not isinstance(about, dict) or features.ndim != 2 or not np.isfinite(features).all():
            raise ModelError(f"the domain in '{folder}' is damaged; copy it again")
        return cls(folder.name, folder, card, features.astype(np.float32), about)

    def model(self, *, device: str = "auto", backend: Backend = "auto") -> Predictor:
        """Its model; ``backend`` "torch" for one that can be trained further."""
        return load_model(self.folder, device=device, backend=backend)

    def gate(self) -> Gate | None:
        """Out-of-distribution detector of its model; None for domains of early versions."""
        return load_gate(self.folder)

    def own_features(self) -> dict[str, np.ndarray] | None:
        """Training data in the model's own features, see `own_sample`; None for domains of early versions.

        Raises
        ------
        ModelError
            If they are damaged.
        """
        path = self.folder / OWN
        if not path.is_file():
            return None
        stored = safe_arrays(path)
        if any(a.ndim != 3 or len(a) < 2 or not np.isfinite(a).all() for a in stored.values()):
            raise ModelError(f"'{path}' is damaged; copy the domain again")
        return {place: a.astype(np.float32) for place, a in stored.items()}

    def patches(self) -> list[Example]:
        """Labelled crops of its training data, single sections at the card's voxel size.

        Raises
        ------
        InputError
            If it has none, for example because the licence of its data does not allow it.
        ModelError
            If they are damaged.
        """
        path = self.folder / PATCHES
        if not path.is_file():
            raise InputError(
                f"domain '{self.name}' has no patches of its data ({self.card.licence or 'licence unknown'}), which "
                "data playback needs: remake the domain with --keep-patches if the licence allows it, or pass the "
                "source's labelled patches yourself, a list of Examples, as the source"
            )
        try:
            stored = safe_arrays(path)
            images, labels = stored["images"], stored["labels"]
            return [Example(i[None], k[None], self.card.voxel_nm) for i, k in zip(images, labels, strict=True)]
        except (ValueError, KeyError) as error:
            raise ModelError(f"'{path}' is damaged ({error}); copy the domain again") from error


def save_own_features(folder: Path, own: Mapping[str, np.ndarray]) -> None:
    """Keep a sample of the training data in the model's own features beside the model."""
    with storing(folder):
        halves: dict[str, Any] = {place: a.astype(np.float16) for place, a in own.items()}
        np.savez_compressed(folder / OWN, **halves)


def save_about(
    folder: Path, about: Mapping[str, Any], features: np.ndarray, patches: tuple[np.ndarray, np.ndarray] | None = None
) -> None:
    """Turn a model's folder into a domain's; ``patches`` are images (n, y, x) uint8 and their labels."""
    with storing(folder):
        if patches is not None:
            np.savez_compressed(folder / PATCHES, images=patches[0], labels=patches[1].astype(np.uint32))
        np.save(folder / FEATURES, features.astype(np.float16), allow_pickle=False)
        write_json(folder / ABOUT, dict(about))


def domains_folder() -> Path:
    """Folder of the shipped domains and their common encoder."""
    return shipped_folder() / "domains"


def load_library(folder: str | Path | None = None) -> dict[str, Domain]:
    """Domains by name: the shipped ones and those of the user's library, or those in the folders inside ``folder``.

    Raises
    ------
    InputError
        If there is none.
    """
    found = {name: Domain.load(path) for name, path in library_models(folder).items() if (path / ABOUT).is_file()}
    if not found:
        raise InputError(f"'{folder}' holds no domain; make one with `napari-connecto domains train`")
    return found


def load_encoder(folder: str | Path | None = None, *, device: str = "auto") -> TorchEncoder:
    """The encoder used to compare domains: a library's own, else the shipped one."""
    own = Path(folder) / ENCODER if folder is not None else None
    path = own if own is not None and own.is_dir() else domains_folder() / ENCODER
    return TorchEncoder(load_model(path, device=device, backend="torch"))
