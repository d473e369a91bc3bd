"""Scores by what a rule finds on held-out objects, and by what its threshold only just leaves out.

Where nearly all detections are objects, they alone cannot tell how fast scores fall towards the threshold and below it;
the false ones just below it do.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np

from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.held_out import Judged, judge
from napari_connecto.workflows.cascade.thresholds.score_curve import FEW, ScoreCurve
from napari_connecto.workflows.cascade.training.labelled_region import Examples

LOWEST = 0.15
"""Probability from which something is a weak detection."""


def curve_of(
    level: Level,
    plan: TilePlan,
    rule: ObjectRule,
    found: Detections,
    judged: Judged,
    centres_nm: np.ndarray,
    examples: Examples,
) -> ScoreCurve:
    """The curve of a rule's detections and of as many weaker ones, the strongest of those.

    Parameters
    ----------
    level, plan, rule
        The held-out block's map (uint8), its tiles, and how objects are extracted.
    found, judged
        What the rule finds there (raw scores), and which of them are objects.
    centres_nm, examples
        Labelled objects of the block, and what is known of it.
    """
    weak = weaker(level, plan, rule)
    strongest = np.argsort(-weak.score, kind="stable")[: max(len(found), FEW)]
    weak = weak.where(np.isin(np.arange(len(weak)), strongest))
    missed = judge(weak, centres_nm[~judged.hit], examples)
    raw, true = np.concatenate([found.score, weak.score]), np.concatenate([judged.true, missed.true])
    known = true | np.concatenate([judged.false, missed.false])
    return ScoreCurve.fit(raw[known], true[known], rule.threshold)


def weaker(level: Level, plan: TilePlan, rule: ObjectRule) -> Detections:
    """What a lower threshold would find besides, scored as the rule scores its own.

    With "centres", maxima below the threshold that are not near a better one; with "masks", regions that nowhere reach
    it.
    """
    everything, low = np.arange(len(plan)), replace(rule, threshold=min(LOWEST, rule.threshold), split_nm=0.0)
    if rule.head == "centres":
        found = find_objects(level, plan, everything, low)
        return found.where(found.score < rule.threshold)
    finder = MaskFinder(level, plan, low)
    found, least = finder.find(everything), ceil(rule.threshold * 255 - 1e-6)
    reaches = np.zeros(len(found) + 1, bool)
    for tile, ids in finder.relabelled(everything):
        reaches[ids[level.read(tile.write) >= least]] = True
    return found.where(~reaches[1:])
