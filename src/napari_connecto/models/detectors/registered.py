"""A registered detector behind the `Predictor` protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.model import ModelCard, Normalisation, Output, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.detectors.answers import TAIL, label_map, point_map, probability_map
from napari_connecto.models.detectors.protocol import Reads, declared
from napari_connecto.models.detectors.registry import make, options_of, package_of

KIND = "registered"
OUTPUT = "object"
PERCENTILES = 1.0, 99.95
"""Of the volume that are 0 and 1 for a detector that wants "percentile"; sparse bright objects are within."""
MIDDLE = (32, 512, 512)
"""Part of an image that a detector may measure, voxels (z, y, x)."""


class RegisteredPredictor:
    """Calls a `Detector` one tile at a time, and turns its answer into a map from 0 to 1.

    Parameters
    ----------
    card
        ``network`` is {"kind": "registered", "name": ..., "options": {...}, "version": ..., "answers": ...,
        "diameter_nm": ..., "package": ...}. ``digest`` is that of the first five: there are no weights.

    Attributes
    ----------
    calls : int
        How many calls at once the detector allows.

    Raises
    ------
    ModelError
        If the detector is not installed, or in another version than the card was made with.
    """

    def __init__(self, card: ModelCard) -> None:
        network = _checked(card)
        self._name = str(network["name"])
        self._detector = make(self._name, network["options"], package=str(network.get("package", "")))
        if str(self._detector.version) != network["version"]:
            raise ModelError(
                f"this was made with version {network['version']!s:.40} of detector '{self._name}', but version "
                f"{self._detector.version} is installed; train again, or install the first"
            )
        reads = declared(self._name, self._detector, card.voxel_nm, card.tile)
        if self._detector.answers != network["answers"]:
            raise ModelError(f"detector '{self._name}' gives {self._detector.answers} now; train again")
        self.card = replace(card, digest=_digest(network))
        self.calls = reads.calls
        self._sigma = float(network["diameter_nm"]) / 4 / np.array(card.voxel_nm)

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (json.dumps(self.card.to_json()),)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`.

        Raises
        ------
        ModelError
            If the detector fails, or answers what it must not.
        """
        return {OUTPUT: np.stack([self._answer(image) for image in batch])}

    def _answer(self, image: np.ndarray) -> np.ndarray:
        shape = vec3(image.shape[1:])
        given = np.array(image if len(image) > 1 else image[0], np.float32)
        try:
            answer = self._detector(given, self.card.voxel_nm)
        except MemoryError:
            raise
        except Exception as error:
            raise ModelError(
                f"detector '{self._name}' fails on {shape} voxels: {type(error).__name__}: {error!s:.200}"
            ) from error
        if self._detector.answers == "labels":
            return label_map(self._name, answer, shape)
        if self._detector.answers == "points":
            return point_map(self._name, answer, shape, self._sigma)
        return probability_map(self._name, answer, shape)


def registered(
    name: str,
    volume: Volume,
    options: Mapping[str, Any] | None = None,
    *,
    diameter_nm: float = 0.0,
) -> RegisteredPredictor:
    """A registered detector for an image.

    Parameters
    ----------
    name, options
        See `registry.make`.
    volume
        The image; little of it is read, and only if the detector measures its options.
    diameter_nm
        Of a typical object, if the detector gives points and states none.

    Raises
    ------
    ModelError, InputError
        As `registry.make` does; also if a detector of points has no diameter, or the image has other channels.
    """
    own = volume.levels[0]
    detector = make(name, options)
    reads = declared(name, detector, own.voxel_nm, own.shape)
    normalisation = Normalisation(reads.normalisation, *PERCENTILES, finest=reads.normalisation == "percentile")  # type: ignore[arg-type]
    if (own.channels or 1) != reads.channels:
        raise InputError(
            f"got {own.channels or 1} channels, detector '{name}' takes {reads.channels}; choose channels when opening "
            "the volume"
        )
    if callable(getattr(detector, "fitted", None)):
        detector = _fitted(name, detector, own, normalisation.resolve(volume))
    size, diameter = reads.voxel_nm or own.voxel_nm, diameter_nm or reads.diameter_nm
    if detector.answers == "points" and not diameter > 0:
        raise ModelError(
            f"detector '{name}' gives points without a size; give diameter_nm, the diameter of a typical object"
        )
    network = {
        "kind": KIND,
        "name": name,
        "options": options_of(detector),
        "version": str(detector.version),
        "answers": str(detector.answers),
        "diameter_nm": float(diameter),
        "package": package_of(name),
    }
    try:
        network = json.loads(json.dumps(network, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"detector '{name}' has options that cannot be saved ({error!s:.200})") from error
    return RegisteredPredictor(
        ModelCard(
            name=name,
            task="detect",
            voxel_nm=size,
            tile=reads.tile,
            halo=_halo(reads, str(detector.answers), diameter / 4 / np.array(size)),
            outputs=(Output(OUTPUT),),
            channels=reads.channels,
            normalisation=normalisation,
            network=network,
            training="no training: a registered detector",
        )
    )


def _fitted(name: str, detector: Any, own: Level, scaling: Scaling) -> Any:
    """The detector with what it measures on the image's middle."""
    block = scaling(own.read(_middle(own)))
    block = block[0] if own.channels == 1 else block
    try:
        return detector.fitted(block, own.voxel_nm)
    except Exception as error:
        raise ModelError(
            f"detector '{name}' cannot measure the image: {type(error).__name__}: {error!s:.200}"
        ) from error


def _middle(level: Level) -> Box:
    """At most `MIDDLE` voxels in the middle of a level."""
    size = [min(n, m) for n, m in zip(level.shape, MIDDLE, strict=True)]
    start = [(n - m) // 2 for n, m in zip(level.shape, size, strict=True)]
    return Box(vec3(start), vec3([a + m for a, m in zip(start, size, strict=True)]))


def _halo(reads: Reads, answers: str, sigma: np.ndarray) -> Vec3:
    """The detector's own, and what turning its answer into a map needs beyond."""
    if answers == "probability":
        return reads.halo
    more = np.ceil(TAIL * sigma).astype(int) if answers == "points" else np.ones(3, int)
    flat = np.array([t == 1 and h == 0 for t, h in zip(reads.tile, reads.halo, strict=True)])
    return vec3((np.array(reads.halo) + np.where(flat, 0, more)).tolist())


def _checked(card: ModelCard) -> Mapping[str, Any]:
    network = card.network
    texts = all(isinstance(network.get(key), str) for key in ("name", "version", "answers"))
    size = network.get("diameter_nm")
    sound = texts and isinstance(network.get("options"), Mapping) and isinstance(size, int | float)
    if not sound or not 0 <= float(size) < 1e12 or card.outputs != (Output(OUTPUT),):  # type: ignore[arg-type]
        raise ModelError(f"the card '{card.name}' does not describe a registered detector; train again")
    return network


def _digest(network: Mapping[str, Any]) -> str:
    told = {key: network[key] for key in ("name", "options", "version", "answers", "diameter_nm")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=4)
def revive(card: str) -> RegisteredPredictor:
    """A predictor from its pickled card; a process makes each only once."""
    return RegisteredPredictor(ModelCard.from_json(json.loads(card)))
