"""An annotator whose process may die at any moment: what was said to be kept is there, and the end is the same."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion

CARD = ModelCard("annotated", "boundary", (40.0, 8.0, 8.0), (1, 32, 32), (0, 0, 0), (Output("boundary"),))
PATCHES, STROKES, SIDE = 6, 6, 32


@dataclass(frozen=True)
class Annotator:
    """Looks at suggestions, paints, commits, skips and undoes; goes on where the session's events end.

    Whatever a call has come back from is written down in ``out.kept``, a byte an event or stroke.
    """

    volume: Path

    def __call__(self, out: Path) -> None:
        with self.session(out) as session, Path(f"{out}.kept").open("ab", buffering=0) as kept:
            for number, (what, patch) in enumerate(steps()):
                if number < len(session._log.events()):
                    continue
                if what == "suggest":
                    box = Box((patch, 0, 0), (patch + 1, SIDE, SIDE))
                    session.add([Suggestion(box, 0.5, "of a script", random=patch == PATCHES)])
                elif what == "commit":
                    labels = session.open_patch(patch).labels
                    for stroke in range(STROKES):
                        labels[0, 4 * stroke : 4 * stroke + 3] = painted(patch)[4 * stroke : 4 * stroke + 3]
                        os.write(kept.fileno(), bytes([100 + 10 * patch + stroke]))
                    session.commit(patch)
                elif what == "skip":
                    session.skip(patch)
                else:
                    session.undo()
                os.write(kept.fileno(), b"\x00")

    def session(self, out: Path) -> Session:
        """The session in ``out``."""
        return Session.open(out, open_volume(self.volume), CARD)

    def summary(self, out: Path) -> None:
        """Write into ``out.json`` what a user sees of a session: what became of patches, drafts, examples."""
        with self.session(out) as session:
            told = {"events": len(session._log.events()), "lost strokes": self._lost(out, session)}
            told["patches"] = [[list(s.box.start), s.score, s.reason, s.held_out, s.status] for s in session.patches]
            examples = [*session.examples(), *session.examples(held_out=True)]
            told["examples"] = [[_digest(e.image), _digest(e.labels)] for e in examples]
            opened = [s.id for s in session.patches if (out / f"patches/{s.id:04d}/draft.zarr").exists()]
            told["drafts"] = {n: _digest(np.asarray(session.open_patch(n).labels[:])) for n in opened}
        Path(f"{out}.json").write_text(json.dumps(told))

    def _lost(self, out: Path, session: Session) -> list[int]:
        """Strokes that came back and are not in the draft."""
        kept = Path(f"{out}.kept")
        strokes = sorted({b for b in kept.read_bytes() if b} if kept.exists() else ())
        lost = []
        for patch, stroke in (divmod(b - 100, 10) for b in strokes):
            rows = slice(4 * stroke, 4 * stroke + 3)
            if not np.array_equal(session.open_patch(patch).labels[0, rows], painted(patch)[rows]):
                lost.append(100 + 10 * patch + stroke)
        return lost


def steps() -> list[tuple[str, int]]:
    """One event each: (what, patch)."""
    found = [("suggest", n) for n in range(1, PATCHES + 1)]
    for n in range(1, PATCHES + 1):
        found += [("skip", n)] if n % 3 == 0 else [("commit", n)]
        found += [("undo", n), ("commit", n)] if n % 2 == 0 else []
    return found


def painted(patch: int) -> np.ndarray:
    """What is painted on a patch, (y, x)."""
    return np.random.default_rng(patch).integers(1, 4, (SIDE, SIDE)).astype(np.uint32)


def kept_events(out: Path) -> int:
    """How many events came back."""
    kept = Path(f"{out}.kept")
    return kept.read_bytes().count(0) if kept.exists() else 0


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
