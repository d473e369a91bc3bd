"""Which held-out patches measure a gain: those painted by the user, not those pre-filled by a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.workflows.adapt.annotate.patch_states import PatchState, editing_text
from napari_connecto.workflows.adapt.annotate.prefill import is_own_output

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.session import Session
    from napari_connecto.workflows.adapt.em_samples import Example

FILE = "annotation.json"
"""File in the folder of a fine-tuning: what is known about its patches."""


@dataclass(frozen=True)
class Annotation:
    """The committed patches of a session by their use.

    Parameters
    ----------
    learnt, held_out
        Training patches, and held-out ones that measure.
    unedited
        Held-out patches committed as a model had pre-filled them; they do not count.
    examples, proof
        Of ``learnt`` and ``held_out``.
    """

    learnt: tuple[PatchState, ...]
    held_out: tuple[PatchState, ...]
    unedited: tuple[PatchState, ...]
    examples: list[Example]
    proof: list[Example]

    @classmethod
    def of(cls, session: Session, model: Predictor) -> Annotation:
        """From a session started with ``model``, which identifies pre-fills of older versions: they recorded none."""
        done = [s for s in session.patches if s.status == "committed"]
        learnt, held = (tuple(s for s in done if s.held_out == h) for h in (False, True))
        examples, proof = session.examples(), session.examples(held_out=True)
        pairs = list(zip(held, proof, strict=True))
        own = {s.id for s, e in pairs if s.unedited or (s.prefilled is None and is_own_output(model, e))}
        return cls(
            learnt,
            tuple(s for s in held if s.id not in own),
            tuple(s for s in held if s.id in own),
            examples,
            [e for s, e in pairs if s.id not in own],
        )

    def lines(self) -> list[str]:
        """How the labels were made, in words."""
        said = [f"trained on {len(self.learnt)} patches: {editing_text(self.learnt)}"] if self.learnt else []
        if self.unedited:
            said.append(self.left_out())
        return said

    def left_out(self) -> str:
        """Which held-out patches do not count, and why; "" if all do."""
        ids = ", ".join(str(s.id) for s in self.unedited)
        plural = len(self.unedited) > 1
        which = f"held-out patches {ids} are" if plural else f"held-out patch {ids} is"
        return f"{which} the model's own pre-fill, unedited: not counted" if ids else ""

    def need_proof(self) -> None:
        """Raise if no held-out patch counts.

        Raises
        ------
        InputError
            The message says what to do.
        """
        if self.unedited and not self.proof:
            raise InputError(f"{self.left_out()}; paint and commit them, or suggest more patches at random")

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        counted = {s.id for s in (*self.learnt, *self.held_out)}
        patches = [
            {"id": s.id, "held_out": s.held_out, "labels": s.origin, "edited": s.edited, "counted": s.id in counted}
            for s in sorted((*self.learnt, *self.held_out, *self.unedited), key=lambda s: s.id)
        ]
        return {"lines": self.lines(), "patches": patches}
