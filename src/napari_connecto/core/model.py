"""What a model is, without running networks: a card and a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np

from napari_connecto.core.errors import ModelError, TooBigError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import LARGEST_NM, SMALLEST_NM, FVec3, Vec3, fvec3, sound_size, vec3
from napari_connecto.core.shown import shown
from napari_connecto.core.views.pedestal import above, moments, narrow, percentiles
from napari_connecto.core.views.sampled import sampled
from napari_connecto.core.volume import Level, Volume

LARGEST, LARGEST_READ = 2**14, 2**30
"""Largest extent of a tile along an axis, and largest number of values in it."""
DIRECTIONS = "directions"
SECTIONS = 4
"""Key of a card's network: a model of sections is shown those along so many axes of a tile; and how many at a time. The
number is fixed, for bits may depend on it."""
NormalisationKind: TypeAlias = Literal["range", "percentile", "standard", "none"]


@dataclass(frozen=True)
class Output:
    """One named result of a model.

    Parameters
    ----------
    name
        "foreground", "centre", "object", "boundary", "mean", ...
    stride
        Voxels of input per voxel of output, (z, y, x); (1, 1, 1) is a dense map.
    trimmed
        Voxels the network itself took off each side (a 2.5-D network trims its z context).
    """

    name: str
    stride: Vec3 = (1, 1, 1)
    trimmed: Vec3 = (0, 0, 0)


@dataclass(frozen=True)
class Scaling:
    """``(value - base - offset) / scale``, the same for a whole volume, so that tiles never differ in brightness.

    Parameters
    ----------
    offset, scale
        In the image's units.
    base
        Constant subtracted first from 64-bit values, in their own type, because no float holds every 64-bit integer.
    """

    offset: float = 0.0
    scale: float = 1.0
    base: float = 0

    @classmethod
    def between(cls, base: float, low: float, scale: float, dtype: np.dtype) -> Scaling:
        """Maps ``base + low`` to 0; ``base`` is a separate term if ``dtype`` has 64 bits."""
        return cls(low, scale, base) if dtype.itemsize == 8 else cls(base + low, scale)

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Float32 copy of ``block``, scaled; the offset is subtracted before anything is rounded to float32."""
        if self == Scaling():
            return block.astype(np.float32)
        if narrow(block.dtype) and not self.base and abs(self.offset) < 2**24:
            whole = np.float32(int(self.offset))
            rest = np.float32(self.offset - int(self.offset))
            return (block.astype(np.float32) - whole - rest) * np.float32(1.0 / self.scale)
        values = above(block, self.base)
        values -= self.offset
        values *= 1.0 / self.scale
        return values.astype(np.float32)


@dataclass(frozen=True)
class Normalisation:
    """How a model wants its intensities: by the dtype's range, or between two percentiles of the *volume*.

    ``kind`` "range" maps the dtype's range to 0..1 (floats are left alone), "percentile" maps ``low``..``high``
    (in per cent, taken on the coarsest level) to 0..1 without clipping, "standard" subtracts the mean and divides by
    the standard deviation (of the finest level's centre, as coarse levels vary less), "none" leaves values alone.
    With ``finest``, percentiles are those of places spread over the finest level: coarse ones average noise and small
    objects away, and how much depends on how coarse they are.
    """

    kind: NormalisationKind = "range"
    low: float = 1.0
    high: float = 99.0
    finest: bool = False

    def resolve(self, volume: Volume, max_voxels: int = 2**24, *, damaged: bool = False) -> Scaling:
        """The numbers for this volume; reads at most ``max_voxels`` of one level.

        An array that is costly to read may offer values itself, ``array.sample(max_voxels, damaged=damaged)`` (n,).
        A chunk that cannot be read is left out of these where the volume may be ``damaged``, and raised else.
        """
        level = volume.levels[0 if self.kind == "standard" or self.finest else -1]
        if self.kind == "none":
            return Scaling()
        if self.kind == "range":
            if level.dtype.kind not in "iu":
                return Scaling()
            info = np.iinfo(level.dtype)
            return Scaling.between(int(info.min), 0.0, float(info.max - info.min), level.dtype)
        if hasattr(level.array, "sample"):
            sample = level.array.sample(max_voxels, damaged=damaged)
        else:
            sample = sampled(level, max_voxels, spread=self.finest and self.kind == "percentile", damaged=damaged)
        finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
        if finite.size == 0:
            raise ModelError(f"'{volume.name}' holds no finite value that can be read; check the input")
        if self.kind == "standard":
            base, mean, deviation = moments(finite)
            return Scaling.between(base, mean, deviation or 1.0, finite.dtype)
        base, (low, high) = percentiles(finite, [self.low, self.high])
        return Scaling.between(base, low, high - low if high > low else 1.0, finite.dtype)


@shown
@dataclass(frozen=True)
class ModelCard:
    """Everything needed to use a model correctly, stored as JSON beside its weights.

    Parameters
    ----------
    name, task
        Name and task ("detect", "boundary", "translate").
    voxel_nm
        Voxel size it was trained at, nm, (z, y, x).
    tile, halo
        What one call owns, and the context it needs around that, voxels.
    channels
        Input channels.
    normalisation
        See `Normalisation`.
    outputs
        See `Output`.
    network
        How to build the network: {"kind": ..., its arguments}; JSON.
    digest
        SHA-256 of the weights file; set on saving, checked on loading.
    training, licence, parent, metrics
        Training data, licence of the weights, digest of the model it was fine-tuned from, held-out figures.
    """

    name: str
    task: str
    voxel_nm: FVec3
    tile: Vec3
    halo: Vec3
    outputs: tuple[Output, ...]
    channels: int = 1
    normalisation: Normalisation = Normalisation()
    network: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    training: str = ""
    licence: str = ""
    parent: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ModelError(f"got a model card with {problem}; export the model again")

    def _problem(self) -> str:
        for name in ("name", "task", "digest", "training", "licence", "parent"):
            if not isinstance(getattr(self, name), str):
                return f"{name} {getattr(self, name)!r}, which must be text"
        for name in ("network", "metrics"):
            if not isinstance(getattr(self, name), Mapping):
                return f"{name} {getattr(self, name)!r}, which must be a mapping"
        if not sound_size(self.voxel_nm):
            return f"voxel_nm {self.voxel_nm}, not three positive numbers from {SMALLEST_NM} to {LARGEST_NM}"
        if min(self.tile) < 1 or min(self.halo) < 0 or not isinstance(self.channels, int) or self.channels < 1:
            return f"tile {self.tile}, halo {self.halo}, {self.channels} channels; need >= 1, >= 0, >= 1"
        read = [t + 2 * h for t, h in zip(self.tile, self.halo, strict=True)]
        if max(read) > LARGEST or prod(read) * self.channels > LARGEST_READ or len(self.outputs) > LARGEST:
            return f"tiles of {read} by {self.channels} channels; allowed: {LARGEST}, in all {LARGEST_READ}"
        names = [output.name for output in self.outputs]
        if not names or len(set(names)) != len(names):
            return f"outputs {names}; need at least one, of different names"
        for o in self.outputs:
            fits = all(0 <= t <= h for t, h in zip(o.trimmed, self.halo, strict=True))
            if min(o.stride) < 1 or not fits:
                return f"output '{o.name}' of stride {o.stride}, trimmed {o.trimmed}; need >= 1, and 0 to the halo"
        n = self.normalisation
        if type(n.finest) is not bool:
            return f"normalisation with finest {n.finest!r:.40}; allowed: true, false"
        if n.kind not in get_args(NormalisationKind) or not 0 <= n.low < n.high <= 100:
            return (
                f"normalisation '{n.kind}' from {n.low} to {n.high} %; allowed: {get_args(NormalisationKind)}, 0 to 100"
            )
        return ""

    def too_big(self, device: Any = "this machine", step: Vec3 = (1, 1, 1)) -> TooBigError:
        """The error to raise if not even one tile fits into memory; it suggests a smaller one.

        Parameters
        ----------
        device
            Whose memory.
        step
            Tile and tile + 2 halo must be multiples of it.
        """
        least = [max(1, s) for s in step]
        half = [max(s, t // 2 // s * s) if t > s else t for t, s in zip(self.tile, least, strict=True)]
        advice = f"run predict, segment or translate with --tile {half[0]} {half[1]} {half[2]} into a new folder, or "
        return TooBigError(
            f"one tile of {self.tile} voxels with a halo of {self.halo} does not fit into the memory of {device}; "
            f"{advice if tuple(half) != self.tile else ''}close other programs and run again: finished parts are saved"
        )

    def output(self, name: str) -> Output:
        """The output of this name."""
        for output in self.outputs:
            if output.name == name:
                return output
        raise ModelError(f"model '{self.name}' has outputs {[o.name for o in self.outputs]}, not '{name}'")

    def level_in(self, volume: Volume) -> Level:
        """The level of a volume that the model reads, and the grid of its outputs of stride 1; see `fitting_level`."""
        return fitting_level(volume, self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; inverse of `from_json`. What older cards lack is left out where it is as it was then."""
        data = asdict(self)
        if not self.normalisation.finest:
            del data["normalisation"]["finest"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelCard:
        """A card from JSON types; says which field is wrong."""
        try:
            return cls(
                **{
                    **data,
                    "voxel_nm": fvec3(data["voxel_nm"]),
                    "tile": _whole(data["tile"]),
                    "halo": _whole(data["halo"]),
                    "outputs": tuple(
                        Output(str(o["name"]), _whole(o["stride"]), _whole(o["trimmed"])) for o in data["outputs"]
                    ),
                    "normalisation": Normalisation(**data["normalisation"]),
                }
            )
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise ModelError(f"the model card is damaged ({error!r}); export the model again") from error


def _whole(values: Any) -> Vec3:
    """`vec3`, but not rounded."""
    whole = vec3(values)
    if whole != tuple(values):
        raise ValueError(f"{values} are not three whole numbers")
    return whole


@runtime_checkable
class Predictor(Protocol):
    """Anything that turns tiles into outputs.

    Contract (``tests/contracts/predictor.py``):

    - ``batch`` is (n, c, z, y, x) float32, already scaled, spatial shape ``tile + 2 * halo`` of the card;
    - the answer has one array per output of the card, (n, *(shape - 2 * trimmed) / stride), float32;
    - a tile's answer does not depend on its place in the batch, nor on its neighbours there;
    - ``seeds`` has one int per tile: a predictor that draws random numbers draws them from it alone.
    """

    @property
    def card(self) -> ModelCard: ...

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]: ...
