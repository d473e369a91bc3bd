"""Compare two models on held-out patches by the variation of information of their segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.partition_metrics import VI, Contingency, variation_of_information
from napari_connecto.core.shown import shown
from napari_connecto.workflows.adapt.em_samples import Example, prepared
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.mode import mode_of
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import instances, tune_segmentation
from napari_connecto.workflows.shared.em_labels import FOREGROUND
from napari_connecto.workflows.shared.whole import boundary_of

MOST_PATCHES = 50
"""Held-out patches that a verdict may ask for."""


@shown
@dataclass(frozen=True)
class Scored:
    """Scores of one model on held-out patches.

    Parameters
    ----------
    params
        Of the segmentation, tuned on the annotated training patches alone.
    vi
        Of each patch, bits.
    total
        Of all patches pooled into one table.
    """

    params: SegmentParams
    vi: tuple[VI, ...]
    total: VI


@shown
@dataclass(frozen=True)
class Comparison:
    """Before and after, patch by patch.

    Parameters
    ----------
    gain
        Mean over patches of VI before minus VI after, bits; positive is better.
    interval
        95 %, Student's t over patches; NaN for fewer than two.
    ids
        Ids of the patches in their session, if they come from one.
    """

    before: Scored
    after: Scored
    gain: float
    interval: tuple[float, float]
    ids: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[int, ...]:
        """Numbers of the patches: ids in their session, or from 1."""
        return self.ids or tuple(range(1, len(self.before.vi) + 1))

    @property
    def distinguishable(self) -> bool:
        """Whether the interval excludes zero."""
        low, high = self.interval
        return bool(low > 0 or high < 0)

    @property
    def improved(self) -> bool:
        """Whether the new model is significantly better: the whole interval is above zero. Else keep the old one."""
        return bool(self.interval[0] > 0)

    def lines(self) -> list[str]:
        """The table as text."""
        rows = [
            f"patch {n}: VI {b.total:.3f} before ({b.split:.3f} split, {b.merge:.3f} merge), "
            f"{a.total:.3f} after ({a.split:.3f}, {a.merge:.3f})"
            for n, b, a in zip(self.names, self.before.vi, self.after.vi, strict=True)
        ]
        return [*rows, self.verdict()]

    def verdict(self) -> str:
        """One sentence."""
        share = self.gain / self.before.total.total if self.before.total.total > 0 else 0.0
        said = f"VI on held-out patches {self.before.total.total:.3f} before, {self.after.total.total:.3f} after"
        if not np.isfinite(self.interval[0]):
            return f"{said}; one patch gives no confidence interval; hold out two or more."
        span = f"{self.gain:+.3f} bits ({self.interval[0]:+.3f} to {self.interval[1]:+.3f}, 95 %)"
        if not self.distinguishable:
            return f"{said}: no significant change, {span}.{self._more()}"
        return f"{said}: {'gain' if self.improved else 'LOSS'} {span}, {percent(share)} of what it was."

    @property
    def needed(self) -> int | None:
        """How many held-out patches would show a change of this size, if they spread as these do.

        None for fewer than two patches, without a change, or if it takes more than `MOST_PATCHES`.
        """
        half, n = (self.interval[1] - self.interval[0]) / 2, len(self.before.vi)
        if n < 2 or self.gain == 0:
            return None
        ratio = abs(self.gain) / (half / student.ppf(0.975, n - 1) * np.sqrt(n)) if half > 0 else np.inf
        counts = np.arange(2, MOST_PATCHES + 1)
        enough = student.ppf(0.975, counts - 1) < ratio * np.sqrt(counts)
        return int(counts[enough][0]) if enough.any() else None

    def _more(self) -> str:
        if self.needed is None:
            return ""
        return f" If it is real, about {self.needed} held-out patches would show it."

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "gain": self.gain,
            "interval": list(self.interval),
            "improved": self.improved,
            "patches": list(self.names),
            "patches_needed": self.needed,
            "before": _json(self.before),
            "after": _json(self.after),
            "verdict": self.verdict(),
        }


def compare(
    before: Predictor,
    after: Predictor,
    held_out: Sequence[Any],
    annotated: Sequence[Any],
    prior: SegmentParams | None = None,
    mode: str = "auto",
) -> Comparison:
    """Compare two boundary models by the segmentation of held-out patches.

    Parameters
    ----------
    before, after
        Boundary models of one voxel size.
    held_out
        Patches that neither training nor tuning has seen, in the forms that `fine_tune` takes.
    annotated
        Patches on which the thresholds of each model are tuned: one fixed threshold for both would compare the scale of
        their probabilities.
    prior
        Thresholds of ``before``, where its tuning starts; those of ``after`` too, unless it was trained from scratch.
        Default: `SegmentParams()`.
    mode
        The `SegmentParams.mode` in which the volume will be segmented.

    Returns
    -------
    Comparison
        ``before`` and ``after`` (thresholds and variation of information per patch, in bits), ``gain`` (mean
        difference; above 0 the new model is better) and its 95 % confidence ``interval`` (Student's t over patches).

    Raises
    ------
    InputError
        If there are no held-out or no annotated patches, or none has the inside of a neurite.

    Examples
    --------
    >>> box = nc.Box((0, 0, 0), (1, 64, 64))
    >>> image = nc.open_sample("neuropil").levels[0].read(box)[0]
    >>> neurons = nc.open_sample("neuropil", "neurons").levels[0].read(box)[0]
    >>> patch = image, np.where(neurons > 0, neurons + 2, 1)
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> nc.compare(model, model, held_out=[patch], annotated=[patch]).gain  # with itself
    0.0
    """
    return run(compare_job(before, after, held_out, annotated, prior, mode))


def compare_job(
    before: Predictor,
    after: Predictor,
    held_out: Sequence[Any],
    annotated: Sequence[Any],
    prior: SegmentParams | None = None,
    mode: str = "auto",
) -> Job[Comparison]:
    """`compare` as a job, with a report per model."""
    if not held_out:
        raise InputError("no held-out patch; commit at least one of the patches drawn at random")
    measured, tuned_on = ([Example.of(e) for e in part] for part in (held_out, annotated))
    scores = []
    known = {"before": (before, prior), "after": (after, prior if after.card.parent else None)}
    for n, (name, (model, start)) in enumerate(known.items()):
        yield Progress(n, 2, f"measuring {name}")
        scores.append(score(model, measured, tune(model, tuned_on, start, mode)))
    yield Progress(2, 2, "measured")
    difference = np.array([b.total - a.total for b, a in zip(scores[0].vi, scores[1].vi, strict=True)])
    return Comparison(scores[0], scores[1], float(difference.mean()), _interval(difference))


def tune(
    model: Predictor, annotated: Sequence[Example], prior: SegmentParams | None = None, mode: str = "auto"
) -> SegmentParams:
    """Segmentation parameters for a model: the prior's, unless annotated patches indicate otherwise.

    ``prior`` are those of the model, its domain or its parent, else the defaults; ``mode`` replaces theirs; see
    `tune_segmentation`. Without a patch that holds two neurites merging cannot be measured, and they stay too.
    """
    pairs = [prepared(e, model.card) for e in annotated]
    start = replace(prior or SegmentParams(), mode=mode)
    if all(len(np.unique(ids[ids > 0])) < 2 for ids in (instances(labels) for _, labels in pairs)):
        return start
    maps, labels = [boundary_of(model, image) for image, _ in pairs], [labels for _, labels in pairs]
    return tune_segmentation(maps, labels, start, voxel_nm=voxel_of(annotated[0], model)).params


def voxel_of(example: Example, model: Predictor) -> FVec3:
    """Voxel size of an example as a model reads it: the section thickness stays."""
    z, y, x = model.card.voxel_nm
    return ((example.voxel_nm or (z, y, x))[0], y, x)


def score(model: Predictor, held_out: Sequence[Example], params: SegmentParams) -> Scored:
    """VI of a model's segmentation of patches; membranes and unlabelled voxels do not count.

    Sections are compared one by one if they are segmented so, or if labels of different sections are unrelated.
    """
    tables = []
    for example in held_out:
        image, labels = prepared(example, model.card)
        voxel, truth = voxel_of(example, model), instances(labels)
        found = segment_array(boundary_of(model, image), params, voxel)
        if not truth.any():
            raise InputError("a held-out patch has no inside of a neurite; paint 2, or neurites from 3 on")
        alone = labels.max() == FOREGROUND or mode_of(params, truth.shape, voxel)[0] == "2d"
        apart = np.arange(len(truth))[:, None, None] * 2**32 if alone else np.int64(0)
        tables.append(Contingency.of(found.astype(np.int64) + apart, np.where(truth > 0, truth + apart, 0)))
    each = tuple(variation_of_information(table) for table in tables)
    total = [float(np.mean([getattr(vi, part) for vi in each])) for part in ("split", "merge")]
    return Scored(params, each, VI(*total))


def _interval(difference: np.ndarray) -> tuple[float, float]:
    """Student's t: for a handful of patches a bootstrap would be far too narrow."""
    n = len(difference)
    if n < 2:
        return float("nan"), float("nan")
    half = float(student.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n))
    return float(difference.mean()) - half, float(difference.mean()) + half


def _json(scored: Scored) -> dict[str, Any]:
    return {
        "params": asdict(scored.params),
        "vi": [{"split": vi.split, "merge": vi.merge, "total": vi.total} for vi in scored.vi],
        "total": scored.total.total,
    }
