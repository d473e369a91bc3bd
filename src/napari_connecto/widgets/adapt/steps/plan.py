"""Which steps can be done, and what to do next; no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST = 24
"""Letters of a name that fit on the button."""
NAMES = ("Choose", "Annotate", "Fine-tune", "Compare", "Segment")


@dataclass(frozen=True)
class Situation:
    """What there is.

    Parameters
    ----------
    step
        The open one, 1 to 5.
    models
        In the library.
    source, session
        Label of the model to start from ("" for none), and whether a session is open.
    wanted
        Patches to suggest.
    opened, waiting
        Ids of the open patch and of the next one that waits; 0 for none.
    unedited
        Whether committing the open patch again accepts it as the model filled it.
    learnt, held
        Committed patches for training, and those held out.
    tuned, compared
        Whether there is a fine-tuned model, and whether it was compared.
    kept
        Name of the model that segments.
    result, proofreading
        Name of a segmentation in the viewer ("" for none), and whether it is being proofread.
    """

    step: int
    models: int = 0
    source: str = ""
    session: bool = False
    wanted: int = 0
    opened: int = 0
    waiting: int = 0
    unedited: bool = False
    learnt: int = 0
    held: int = 0
    tuned: bool = False
    compared: bool = False
    kept: str = ""
    result: str = ""
    proofreading: bool = False


@dataclass(frozen=True)
class Next:
    """The next action: what its button says, the step it leads to, and what it starts there ("" for nothing)."""

    text: str
    step: int
    act: str = ""


def blocked(now: Situation) -> Mapping[int, str]:
    """Why steps cannot be done yet, by number; those that can are absent."""
    found = {}
    if not now.source and not now.session:
        found = dict.fromkeys((2, 5), "choose a model in step 1 first")
    if not now.learnt:
        found[3] = "commit a patch in step 2 first (one that is not held out)"
    if not now.tuned:
        found[4] = "fine-tune in step 3 first"
    return found


def next_of(now: Situation) -> Next:
    """What to do next."""
    return (_choose, _annotate, _tune, _compare, _segment)[now.step - 1](now)


def _choose(now: Situation) -> Next:
    if now.session:
        return Next("Next: annotate", 2)
    if now.source:
        return Next(f"Suggest patches{_by(now.source)}", 2, "suggest")
    return Next(f"Rank {_count(now.models, 'model')} on this image", 1, "rank")


def _annotate(now: Situation) -> Next:
    if not now.session:
        return Next(f"Suggest {_count(now.wanted, 'patch')}", 2, "suggest") if now.source else Next("Choose a model", 1)
    if now.opened and now.unedited:
        return Next(f"Commit patch {now.opened} again (C)", 2, "commit")
    if now.opened:
        return Next(f"Commit patch {now.opened} and go on (C)", 2, "commit")
    if now.waiting:
        return Next(f"Open patch {now.waiting}", 2, "open")
    if now.learnt:
        return Next(f"Next: fine-tune on {_count(now.learnt, 'patch')}", 3)
    return Next(f"Suggest {now.wanted} more", 2, "suggest")


def _tune(now: Situation) -> Next:
    if not now.learnt:
        return Next("Back: commit a patch", 2)
    if not now.tuned:
        return Next(f"Fine-tune on {_count(now.learnt, 'patch')}", 3, "tune")
    return _comparing(now)


def _compare(now: Situation) -> Next:
    if not now.tuned:
        return Next("Back: fine-tune", 3)
    return _comparing(now)


def _comparing(now: Situation) -> Next:
    if now.held and not now.compared:
        return Next(f"Compare on {_count(now.held, 'held-out patch')}", 4, "compare")
    return Next("Next: segment", 5)


def _segment(now: Situation) -> Next:
    if now.proofreading:
        return Next("Stop proofreading", 5, "proofread")
    if now.result:
        return Next(f"Proofread '{now.result}'" if len(now.result) <= LONGEST else "Proofread", 5, "proofread")
    return Next("Segment", 5, "segment") if now.kept else Next("Choose a model", 1)


def _by(model: str) -> str:
    """The model, where its name fits on the button."""
    return f" with {model}" if model and len(model) <= LONGEST else ""


def _count(n: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{n} {what if n == 1 else plural}"
