"""Result of training a cascade in words: held-out figures, a failure, or a worse result than before."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.thresholds.held_out import LOW, HeldOut
from napari_connecto.workflows.cascade.thresholds.untrained import Untrained

UNCHECKED_DETECTOR = (
    "No out-of-distribution check: it needs a network trained by this program, and enough of the image."
)
SECTIONS = "Objects are counted section by section; none continues in the next section."
UNCHECKED = "No out-of-distribution check: the labelled part is too small to fit one."


@dataclass(frozen=True)
class TrainingSummary:
    """Result of a training.

    Parameters
    ----------
    failure
        Why the cascade is useless, and what to do; "" if it is not.
    comparison
        The held-out figures of the previous cascade beside the new one's; "" without one.
    worse
        Whether the previous cascade was better.
    lines
        The whole summary, the failure first.
    """

    failure: str
    comparison: str
    worse: bool
    lines: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether the new cascade may replace the previous one."""
        return not (self.failure or self.worse)


def summarise(cascade: Cascade) -> TrainingSummary:
    """The result of the training that made a cascade."""
    held_out = cascade.calibration.held_out
    failure = _failure(held_out)
    comparison, worse = _compared(cascade, held_out)
    count = len(cascade.stages)
    lines = [f"{cascade.name}: {count} level{'s' * (count > 1)}, threshold {cascade.rule.threshold:.2f}"]
    lines += _distilled(cascade)
    lines += _stopped(cascade)
    lines += [str(told)] if (told := cascade.metadata.get("unlabelled")) else []
    lines += [SECTIONS] if cascade.rule.flat else []
    lines += [held_out.sentence] if held_out is not None and not failure else []
    lines += _beside_others(cascade, held_out)
    lines += [comparison] if comparison else []
    lines += [cascade.choose().reason] if not failure else []
    unchecked = UNCHECKED_DETECTOR if cascade.detector else UNCHECKED
    lines.append(cascade.gate.sentence if cascade.gate else unchecked)
    return TrainingSummary(failure, comparison, worse, tuple([failure] if failure else []) + tuple(lines))


def _stopped(cascade: Cascade) -> list[str]:
    told = cascade.metadata.get("stopped")
    if not told:
        return []
    text = f"Stopped at level {told['level']} after {told['steps']} of {told['of']} steps; the best state is kept."
    left = told["levels"] - len(cascade.stages)
    return [text + (f" Not trained: {left} coarser level{'s' * (left > 1)}." if left else "")]


def _distilled(cascade: Cascade) -> list[str]:
    """What the gates of a detector learnt from, and what it finds of the labels."""
    told = cascade.metadata.get("detector")
    if not told:
        return []
    calls = (
        f"{told['calls']} calls of {told['name']}, {told['seconds_per_call']:.2g} s each, of "
        f"{told['places']} for the whole image; {told['positive']} found something"
    )
    alone = (
        f"No coarse levels, after {calls}: too few to learn from, or objects too small to be seen at a coarser level."
    )
    lines = [f"The coarse levels were trained on {calls}." if told["gates"] else alone]
    if labels := cascade.metadata.get("labels"):
        told = HeldOut.from_json(labels).sentence
        other = "This is low: change the detector's options, or choose another detector."
        lines.append("On the labels: " + told.replace("held-out", "labelled").replace(LOW, other))
    return lines


def _failure(held_out: HeldOut | None) -> str:
    if held_out is None or held_out.counts.tp or not len(held_out.found):
        return ""
    return (
        f"Training failed: the cascade finds none of the {len(held_out.found)} held-out objects. Train longer (more "
        "steps), label more objects, and check that the labels match the objects."
    )


def _beside_others(cascade: Cascade, held_out: HeldOut | None) -> list[str]:
    """The same figures of what needs less, see `baseline_job` and `untrained_job`; what to use if one is better."""
    if held_out is None or not len(held_out.found):
        return []
    threshold, blobs = (cascade.metadata.get(name) for name in ("baseline", "blobs"))
    lines, own = [], _figures(held_out)
    better = Untrained.from_json(blobs) if blobs else None
    better = better if better is not None and better.held_out.worth > held_out.worth else None
    if threshold:
        plain = HeldOut.from_json(threshold)
        text = f"A plain threshold with watershed, fitted to the same labels: {_figures(plain)}."
        if plain.worth > held_out.worth and better is None:
            text += f" It does better than this cascade ({own}): label more objects, or train longer."
        lines.append(text)
    if better is not None:
        where = "" if better.channel is None else f", channel {better.channel}"
        lines.append(
            f"The built-in detector of blobs, which is not trained, does better than this cascade on the held-out "
            f"objects ({_figures(better.held_out)}; this cascade: {own}). Use it instead (Find with: Blobs; --detector "
            f"blobs --detector-options '{better.options}'{where}), or label more objects."
        )
    return lines


def _figures(held_out: HeldOut) -> str:
    dice = "" if held_out.dice is None else f", Dice {held_out.dice:.2f}"
    return f"F1 {held_out.counts.f1:.2f} ({_counts(held_out)}){dice}"


def _compared(cascade: Cascade, held_out: HeldOut | None) -> tuple[str, bool]:
    told = cascade.metadata.get("previous")
    if not told or held_out is None:
        return "", False
    if "error" in told:
        return f"Not compared with '{told['name']}': {told['error']}", False
    before = HeldOut.from_json(told["held_out"])
    new, old = held_out.counts.f1, before.counts.f1
    figures = f"F1 {new:.2f} ({_counts(held_out)}), '{told['name']}' {old:.2f} ({_counts(before)})"
    if new < old:
        return f"Worse than the previous cascade on the held-out objects: {figures}. Keep the previous one.", True
    return f"On the same held-out objects: {figures}.", False


def _counts(held_out: HeldOut) -> str:
    return f"{held_out.counts.tp} of {len(held_out.found)} found, {held_out.false} false"
