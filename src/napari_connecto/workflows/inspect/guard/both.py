"""An image and an answer as one volume of several channels, read where it is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.segment.block import scaling_of
from napari_connecto.workflows.shared.on_grid import placed_on


def both(volume: Volume, output: Volume, card: ModelCard) -> Volume:
    """Channels: the image, scaled as a model wants it, and the answer in 0..1, on the grid that the model reads.

    Parameters
    ----------
    volume
        Image.
    output
        What the model made of it; elsewhere placed or sampled, it is read at the nearest voxel. Without a voxel size it
        has the voxels of the image.
    card
        Of the model.

    Raises
    ------
    VoxelSizeError
        If the volume does not fit the model.
    InputError
        If the answer has channels, is no map of probabilities, or lies outside of the image.
    """
    level = fitting_level(volume, card)
    if not isinstance(output, Volume):
        raise InputError(f"got an answer of type {type(output).__name__}; give the volume that predict returned")
    answer = output.levels[0]
    if answer.channels is not None:
        raise InputError(
            f"got an answer of {answer.channels} channels in '{output.name}'; give one of the model's outputs"
        )
    if output.calibrated and level.box_in(level.box, answer).clip(answer.shape).size == 0:
        raise InputError(f"'{output.name}' lies outside of '{volume.name}'; give the model's answer to this image")
    scaling = card.normalisation.resolve(volume)
    array = _Both(level, scaling, placed_on(output, volume, level, "an answer"), scaling_of(answer.dtype))
    source = f"{volume.source}|{output.source}" if volume.source and output.source else ""
    revision = "|".join(str(v.metadata.get("revision", "")) for v in (volume, output))
    metadata: dict[str, Any] = {"revision": revision}
    return Volume((replace(level, array=array),), volume.name, calibrated=True, source=source, metadata=metadata)


@dataclass(frozen=True)
class _Both:
    """Sliced as ``array[..., z, y, x]`` with step 1."""

    image: Level
    scaling: Scaling
    answer: Level
    own: Scaling

    @property
    def shape(self) -> tuple[int, ...]:
        return ((self.image.channels or 1) + 1, *self.image.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        box = Box(vec3([k.start for k in key[-3:]]), vec3([k.stop for k in key[-3:]]))
        image = self.scaling(self.image.read(box))
        answer = self.own(self.answer.read(box))
        low, high = float(answer.min()), float(answer.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise InputError(
                f"got answers from {low:g} to {high:g}; a guard judges probabilities, 0..1 (uint8: 0..255): give the "
                "model's own output, not labels or logits"
            )
        return np.concatenate([image if image.ndim == 4 else image[None], np.clip(answer, 0, 1)[None]])
