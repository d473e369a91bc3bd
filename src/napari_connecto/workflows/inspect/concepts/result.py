"""What a network, its checkpoints and its other sizes know of some concepts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.documents import json_text
from napari_connecto.core.shown import shown
from napari_connecto.core.whole import whole_file
from napari_connecto.workflows.inspect.concepts.curves import reactivation, threshold
from napari_connecto.workflows.inspect.concepts.used import Used

Axis = Literal["step", "width"]
How = Literal["probe", "channel", "latent", "random_latent"]
NAN = float("nan")


@dataclass(frozen=True)
class Reading:
    """One concept at one stage of one network; figures are average precisions on the test blocks.

    Parameters
    ----------
    model, axis, at
        Its name; whether it is a checkpoint ("step") or another size ("width"); and which.
    stage, concept, prevalence
        The concept's share of the test pixels is what chance gives.
    probe, low, high, validation
        Of the linear probe, with its 95 % interval over blocks; and on the validation blocks, which choose stages.
    channel, channel_index, channel_sign
        Of the best single channel; sign -1 where it is low on the concept.
    latent, latent_index, fvu, l0, dead
        Of the best latent of the stage's own autoencoder, and its quality, see `Quality`. NaN and -1 without one.
    random_latent
        Of the best latent of a frozen random dictionary.
    shuffled
        Of a probe of the masks of other blocks, less the prevalence of those: near 0 unless the split leaks. NaN but
        of the last checkpoint.
    untrained, untrained_channel, untrained_latent
        Of networks of the same architecture with random weights.
    """

    model: str
    axis: Axis
    at: float
    stage: str
    concept: str
    prevalence: float
    probe: float
    low: float
    high: float
    validation: float
    channel: float
    channel_index: int
    channel_sign: int
    latent: float = NAN
    latent_index: int = -1
    random_latent: float = NAN
    fvu: float = NAN
    l0: float = NAN
    dead: float = NAN
    shuffled: float = NAN
    untrained: tuple[float, ...] = ()
    untrained_channel: tuple[float, ...] = ()
    untrained_latent: tuple[float, ...] = ()

    def above_chance(self, how: How = "probe") -> float:
        """Average precision less the prevalence."""
        return float(getattr(self, how)) - self.prevalence

    def control(self, how: How = "probe") -> tuple[float, ...]:
        """The same of the untrained networks."""
        values = {"probe": self.untrained, "channel": self.untrained_channel}.get(how, self.untrained_latent)
        return tuple(value - self.prevalence for value in values)


@shown
@dataclass(frozen=True)
class Concepts:
    """The answer of `concepts`.

    Parameters
    ----------
    readings
        One per network, stage and concept, in this order, checkpoints by step, stages by depth.
    used
        Of the last checkpoint, see `Used`; empty without ``ablation``.
    places
        By concept (n, 3) nm, (z, y, x): the test pixels of the highest score at the stage that tells it best.
    """

    readings: tuple[Reading, ...]
    used: tuple[Used, ...] = ()
    places: Mapping[str, np.ndarray] | None = None

    @property
    def concepts(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(dict.fromkeys(r.concept for r in self.readings))

    @property
    def stages(self) -> tuple[str, ...]:
        """Of the model, by depth."""
        return tuple(dict.fromkeys(r.stage for r in self.readings if r.axis == "step"))

    def along(self, axis: Axis, concept: str, stage: str) -> tuple[Reading, ...]:
        """The checkpoints, or sizes, of one stage in ascending order."""
        found = [r for r in self.readings if (r.axis, r.concept, r.stage) == (axis, concept, stage)]
        return tuple(sorted(found, key=lambda r: r.at))

    def last(self, concept: str) -> tuple[Reading, ...]:
        """The stages of the last checkpoint, by depth."""
        return tuple(self.along("step", concept, stage)[-1] for stage in self.stages)

    def table(self, concept: str, how: How = "probe") -> np.ndarray:
        """Average precision (stages, checkpoints): the heat map."""
        return np.array([[getattr(r, how) for r in self.along("step", concept, stage)] for stage in self.stages])

    def since(self, concept: str, stage: str, how: How = "probe") -> float | None:
        """Step of the first checkpoint above half of the maximum and above untrained networks, see `threshold`."""
        return _first(self.along("step", concept, stage), how)

    def best_stage(self, concept: str) -> str:
        """Where the last checkpoint's probe tells it best, on the validation blocks."""
        return max(self.last(concept), key=lambda r: r.validation).stage

    def returns(self, concept: str, how: How = "probe") -> tuple[str, str, str] | None:
        """Stages of the peak, the fall and the return of the last checkpoint, see `reactivation`; None without one."""
        found = reactivation([r.above_chance(how) for r in self.last(concept)])
        return None if found is None else tuple(self.stages[i] for i in found)  # type: ignore[return-value]

    def smallest_width(self, concept: str, how: How = "probe") -> float | None:
        """The smallest size whose best stage is above half of the maximum and above its own untrained networks."""
        sizes: dict[float, Reading] = {}
        for r in self.readings:
            if r.axis == "width" and r.concept == concept:
                best = sizes.get(r.at)
                sizes[r.at] = r if best is None or r.validation > best.validation else best
        return _first(tuple(sizes[at] for at in sorted(sizes)), how) if sizes else None

    def lines(self) -> Iterator[str]:
        """What there is to say, a sentence a line."""
        for concept in self.concepts:
            yield from self._lines(concept)

    def _lines(self, concept: str) -> Iterator[str]:
        best = max(self.last(concept), key=lambda r: r.validation)
        control = f", untrained networks {max(best.untrained):.2f} at most" if best.untrained else ""
        beaten = best.low > max([best.prevalence, *best.untrained])
        yield (
            f"{concept}: read best in {best.stage}, average precision {best.probe:.2f} ({best.low:.2f} to "
            f"{best.high:.2f}; chance {best.prevalence:.2f}{control})"
            + ("" if beaten else "; that is no better than its controls")
        )
        steps = [r.at for r in self.along("step", concept, best.stage)]
        if len(steps) > 1:
            since = self.since(concept, best.stage)
            yield (
                f"{concept}: never above untrained networks"
                if since is None
                else (f"{concept}: readable in {best.stage} since step {since:g} of {steps[-1]:g}")
            )
        if back := self.returns(concept):
            yield f"{concept}: readable in {back[0]}, lost in {back[1]}, back in {back[2]}"
        if any(r.axis == "width" for r in self.readings):
            width = self.smallest_width(concept)
            yield f"{concept}: no width tells it" if width is None else f"{concept}: from width {width:g} on"
        yield from _latent_line(concept, self.last(concept))
        told = [u for u in self.used if (u.concept, u.stage, u.what) == (concept, best.stage, "probe")]
        for u in told:
            verb = "depends on" if u.used else "does not depend on"
            share = abs(u.effect / u.margin) if u.margin else 0.0
            yield f"{concept}: the answer {verb} this direction (margin {u.margin:+.2f}, changed by {percent(share)})"

    def to_json(self) -> dict[str, Any]:
        """Plain types; numbers that do not exist are None."""
        places = {name: np.asarray(at).tolist() for name, at in (self.places or {}).items()}
        return {
            "readings": [_plain(asdict(r)) for r in self.readings],
            "used": [{**_plain(asdict(u)), "used": u.used} for u in self.used],
            "places_nm": places,
            "lines": list(self.lines()),
        }

    def save(self, folder: str | Path) -> None:
        """Write ``concepts.csv``, a row per reading, and ``concepts.json``, all there is."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = [field.name for field in fields(Reading)]
        with whole_file(folder / "concepts.csv") as partial, partial.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(names)
            rows.writerows([_cell(getattr(r, name)) for name in names] for r in self.readings)
        with whole_file(folder / "concepts.json") as partial:
            partial.write_text(json_text(self.to_json(), indent=1))


def _first(readings: Sequence[Reading], how: How) -> float | None:
    if not readings:
        return None
    found = threshold([r.above_chance(how) for r in readings], [r.control(how) for r in readings])
    return None if found is None else readings[found].at


def _latent_line(concept: str, readings: Sequence[Reading]) -> Iterator[str]:
    known = [r for r in readings if not np.isnan(r.latent)]
    if not known:
        return
    best = max(known, key=lambda r: r.latent)
    rival = max(best.random_latent, best.channel)
    verdict = "better than" if best.latent > rival + 0.02 else "no better than"
    yield (
        f"{concept}: the autoencoder's best latent ({best.stage}, {best.latent:.2f}) is {verdict} a random "
        f"dictionary's ({best.random_latent:.2f}) and a single channel ({best.channel:.2f})"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _cell(value: Any) -> Any:
    return ";".join(f"{v:.4f}" for v in value) if isinstance(value, tuple) else value
