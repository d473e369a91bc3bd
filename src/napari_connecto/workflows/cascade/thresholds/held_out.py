"""Recall of the finest stage on labelled objects held out from training: misses that are not due to gating."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import beta

from napari_connecto.core.metrics import Counts
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.matching import match_points
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.training.labelled_region import Examples

LOW_F1 = 0.6
LOW = "This is low: label more objects, or train longer."
"""Said where the F1 of the objects is below `LOW_F1`."""


@shown
@dataclass(frozen=True, eq=False)
class HeldOut:
    """An exhaustive search of the held-out block compared with its labels, matched one to one by centres.

    Parameters
    ----------
    found
        (m,) boolean for each labelled object, in the order of `Calibration.objects`.
    too_small
        Labelled objects missed because their masks are below the minimum size.
    false
        Detections on labelled background (everything that is not an object, if all was labelled).
    least_voxels
        The minimum size.
    complete
        Whether all objects in the block were labelled. In a review they are not: an object that was neither detected
        nor added by hand counts as neither found nor missed, and detections elsewhere are not judged.
    dice
        Overlap of the masks' voxels with the labels', on the finest level in use; None for centres.
    """

    found: np.ndarray
    too_small: int
    false: int
    least_voxels: int
    complete: bool = True
    dice: float | None = None

    @property
    def counts(self) -> Counts:
        """Found, false and missed."""
        hits = int(np.count_nonzero(self.found))
        return Counts(hits, self.false, len(self.found) - hits)

    @property
    def worth(self) -> float:
        """F1 of the objects, for masks its mean with Dice: by this, thresholds are chosen."""
        return self.counts.f1 if self.dice is None else (self.counts.f1 + self.dice) / 2

    @property
    def sentence(self) -> str:
        """The result in words."""
        counts, n = self.counts, len(self.found)
        text = f"An exhaustive search finds {found_of(counts.tp, n)}"
        if self.too_small:
            text += (
                f"; {self.too_small} of those missed are smaller than the minimum size of {self.least_voxels} voxels"
            )
        if counts.tp + counts.fp:
            text += f"; {counts.fp} of {counts.tp + counts.fp} detections there are false"
            text += f"; F1 {counts.f1:.2f} (95 % CI {{:.2f}} to {{:.2f}})".format(*f1_interval(counts))
        if self.dice is not None:
            text += f"; masks overlap the labels with a Dice of {self.dice:.2f}"
        text += "." if self.complete else ". Only labelled places count; other objects may be missed."
        return f"{text} {LOW}" if n and counts.f1 < LOW_F1 else text

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "found": [bool(v) for v in self.found],
            "too_small": self.too_small,
            "false": self.false,
            "least_voxels": self.least_voxels,
            "complete": self.complete,
        } | ({} if self.dice is None else {"dice": self.dice})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HeldOut:
        """From the output of `to_json`; raises whatever damaged data raise."""
        too_small, false, least = (int(data[name]) for name in ("too_small", "false", "least_voxels"))
        dice = None if data.get("dice") is None else float(data["dice"])
        return cls(np.asarray(data["found"], bool).ravel(), too_small, false, least, bool(data["complete"]), dice)


def found_of(found: int, labelled: int) -> str:
    """Recall of the labelled held-out objects in words, with its interval."""
    if not labelled:
        return "no held-out object: none is labelled there"
    share, low, high = (f"{100 * v:.0f}" for v in (found / labelled, *recall_interval(found, labelled)))
    return f"{found} of {labelled} held-out objects ({share} %, 95 % CI {low} to {high} %)"


def recall_interval(found: int, labelled: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %."""
    low = float(beta.ppf(0.025, found, labelled - found + 1)) if found else 0.0
    high = float(beta.ppf(0.975, found + 1, labelled - found)) if found < labelled else 1.0
    return low, high


def f1_interval(counts: Counts) -> tuple[float, float]:
    """95 %: F1 is 2 J / (1 + J) of the share J of right ones among all found, false and missed, a binomial share."""
    low, high = recall_interval(counts.tp, counts.tp + counts.fp + counts.fn)
    return 2 * low / (1 + low), 2 * high / (1 + high)


@dataclass(frozen=True)
class LabelledRecall:
    """Recall of a search on the labelled held-out objects: finest stage, minimum size and gating each lose some.

    Parameters
    ----------
    labelled, found, exhaustive
        Number of objects: labelled, found with the levels in use, and found by an exhaustive search.
    """

    labelled: int
    found: int
    exhaustive: int

    @property
    def sentence(self) -> str:
        """The recall in words."""
        text = f"the levels in use find {found_of(self.found, self.labelled)}"
        return text + (f"; an exhaustive search finds {self.exhaustive}." if self.found < self.exhaustive else ".")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, with the 95 % interval of the recall."""
        interval = list(recall_interval(self.found, self.labelled)) if self.labelled else [0.0, 1.0]
        return {**asdict(self), "interval": interval, "sentence": self.sentence}


@shown
@dataclass(frozen=True, eq=False)
class Judged:
    """Detections in a block compared with its labels.

    Parameters
    ----------
    hit
        (m,) labelled objects that are found.
    true, false
        (k,) detections that are an object, and that are none; for the others nothing is known.
    """

    hit: np.ndarray
    true: np.ndarray
    false: np.ndarray

    @property
    def f1(self) -> float:
        """Of the objects."""
        hits = int(self.hit.sum())
        return Counts(hits, int(self.false.sum()), len(self.hit) - hits).f1


def judge(found: Detections, centres_nm: np.ndarray, examples: Examples) -> Judged:
    """Match detections to labelled objects at ``centres_nm``, within half a typical diameter."""
    match = match_points(found.centre_nm, centres_nm, examples.diameter_nm / 2)
    hit, true = np.zeros(len(centres_nm), bool), np.zeros(len(found), bool)
    hit[match.truth], true[match.found] = True, True
    return Judged(hit, true, ~true & examples.known_at(found.centre_nm))


def measure_held_out(
    level: Level, plan: TilePlan, rule: ObjectRule, centres_nm: np.ndarray, examples: Examples
) -> tuple[HeldOut, Detections, Judged]:
    """Extract objects from the held-out block's map (uint8), with and without the minimum size.

    Returns
    -------
    held_out, found, judged
        The measurement, its detections, and which of these are true.
    """
    everything = np.arange(len(plan))
    found = find_objects(level, plan, everything, rule)
    judged = judge(found, centres_nm, examples)
    too_small = 0
    if rule.head == "masks" and rule.min_voxels > 1:
        unfiltered = find_objects(level, plan, everything, replace(rule, min_voxels=1))
        too_small = max(0, int(judge(unfiltered, centres_nm, examples).hit.sum()) - int(judged.hit.sum()))
    false, complete = int(judged.false.sum()), examples.known is None
    return HeldOut(judged.hit, too_small, false, rule.min_voxels, complete), found, judged
