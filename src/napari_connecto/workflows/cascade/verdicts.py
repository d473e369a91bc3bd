"""A reviewer's verdicts on detections, and their file in a search's folder. Light, because docks import it.

The ids of detections change when a folder is searched again (Run all after Preview, another threshold); positions do
not. So a verdict belongs to a position: it applies to the nearest detection within half the object diameter, because
two objects are no nearer than that. A verdict without a detection is kept, for a later search may find it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.io.tables.tables import numbers_of, places_of, read_table, write_table

NEW, ACCEPTED, REJECTED, ADDED = STATUSES = ("new", "accepted", "rejected", "added")
OBJECTS = (ACCEPTED, ADDED)
"""Statuses of what a reviewer says is an object."""
REVIEW = "review.csv"
NOTES = ("tags", "reviewer", "when")
"""Columns of text that go with a verdict."""
SEPARATOR = ";"
"""Between the tags of one detection."""
_TAG = re.compile(r"[^\W\d_][\w .+()/-]{0,23}")


@shown
@dataclass(frozen=True)
class Verdicts:
    """Verdicts at positions.

    Parameters
    ----------
    id
        (n,) of the detections when this was written, for readers of the file; 0 if there was none.
    centre_nm
        (n, 3) world position in nm, (z, y, x).
    status
        (n,) "accepted", "rejected", "added" (an object that the search missed), or "new" if there are only tags.
    reach_nm
        Largest distance of a detection from a verdict's position, nm.
    tags
        (n,) names separated by ";"; default none.
    reviewer, when
        (n,) who gave the verdict, and when (ISO 8601); default unknown.
    names
        The tags to choose from, in the order of the keys 1 to 9.
    """

    id: np.ndarray
    centre_nm: np.ndarray
    status: np.ndarray
    reach_nm: float = 0.0
    tags: np.ndarray = None  # type: ignore[assignment]
    reviewer: np.ndarray = None  # type: ignore[assignment]
    when: np.ndarray = None  # type: ignore[assignment]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in NOTES:
            if getattr(self, name) is None:
                object.__setattr__(self, name, no_text(len(self)))

    def __len__(self) -> int:
        return len(self.status)

    @classmethod
    def none(cls, reach_nm: float = 0.0) -> Verdicts:
        """No verdicts."""
        return cls(np.empty(0, np.int64), np.empty((0, 3)), np.empty(0, "<U8"), reach_nm)

    def take(self, index: np.ndarray) -> Verdicts:
        """Those at ``index``, integers or booleans."""
        rows: dict[str, Any] = {name: getattr(self, name)[index] for name in ("id", "centre_nm", "status", *NOTES)}
        return replace(self, **rows)

    def match(self, centre_nm: np.ndarray) -> tuple[Verdicts, Verdicts]:
        """The verdict on each of the detections at ``centre_nm`` (m, 3), "new" without one, and those on none of them.

        If several verdicts match one detection, the nearest counts. A detection where an object was added is accepted.
        """
        m = len(centre_nm)
        said = Verdicts(np.zeros(m, np.int64), np.asarray(centre_nm), np.full(m, NEW, "<U8"), self.reach_nm)
        if not len(self) or not m:
            return replace(said, names=self.names), self
        from scipy.spatial import cKDTree

        distance, nearest = cKDTree(centre_nm).query(self.centre_nm)
        far_to_near = np.argsort(-distance, kind="stable")
        on = far_to_near[distance[far_to_near] <= self.reach_nm]
        for name in ("status", *NOTES):
            getattr(said, name)[nearest[on]] = getattr(self, name)[on]
        said.status[said.status == ADDED] = ACCEPTED
        rest = self.take(distance > self.reach_nm)
        return replace(said, names=self.names), replace(rest, id=np.zeros(len(rest), np.int64))

    def __add__(self, other: Verdicts) -> Verdicts:
        """Both together, with the reach and the tag names of this one."""
        rows: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("id", "centre_nm", "status", *NOTES)
        }
        return replace(self, names=self.names or other.names, **rows)


def no_text(n: int) -> np.ndarray:
    """(n,) empty strings."""
    return np.full(n, "", object)


def tags_of(text: str) -> tuple[str, ...]:
    """The tags in one cell of a column ``tags``."""
    return tuple(tag for tag in text.split(SEPARATOR) if tag)


def check_tags(names: Iterable[Any], path: str | Path = "") -> tuple[str, ...]:
    """Names of tags, each once.

    Raises
    ------
    InputError
        If one is not allowed.
    """
    told = tuple(dict.fromkeys(name.strip() if isinstance(name, str) else name for name in names))
    place = f" in '{path}'" if path else ""
    for name in told:
        if not (isinstance(name, str) and _TAG.fullmatch(name)):
            raise InputError(
                f"got the tag '{name!s:.40}'{place}; a tag starts with a letter and has at "
                "most 24 letters, digits, spaces or . + - _ / ( )"
            )
    return told


def write_verdicts(folder: str | Path, verdicts: Verdicts) -> None:
    """Write ``review.csv`` in a search's result folder, as a whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    places = {f"{axis}_nm": verdicts.centre_nm[:, i] for i, axis in enumerate("zyx")}
    columns = {"id": verdicts.id, **places, "status": verdicts.status, **notes_of(verdicts)}
    write_table(Path(folder) / REVIEW, columns, {"reach_nm": verdicts.reach_nm, "tags": list(verdicts.names)})


def read_verdicts(path: str | Path) -> Verdicts:
    """Read ``review.csv``, given by itself or by its folder; no verdicts if there is none.

    Raises
    ------
    InputError
        If it is damaged, not such a table, or cannot be read.
    """
    path = Path(path)
    path = path / REVIEW if path.is_dir() else path
    try:
        if not path.exists():
            return Verdicts.none()
        table, header = read_table(path)
        return _verdicts(path, table, header)
    except (InputError, OSError) as error:
        raise InputError(f"{error}; correct it, or move it out of the folder") from error


def _verdicts(path: Path, table: dict[str, np.ndarray], header: dict[str, Any]) -> Verdicts:
    if "status" not in table:
        raise InputError(f"'{path}' has no column 'status'; a review has id, z_nm, y_nm, x_nm, status")
    status, centre = check_status(table["status"], path), places_of(table, path)
    reach, names = header.get("reach_nm", 0.0), header.get("tags", [])
    if not (isinstance(reach, int | float) and 0 <= reach < np.inf):
        raise InputError(f"'{path}' has a reach of {reach!r}; it is a number of nm, 0 or more")
    if not isinstance(names, list):
        raise InputError(f"'{path}' has the tags {names!r:.40}; they are a list of names")
    id, notes = numbers_of(table, "id", path).astype(np.int64), read_notes(table, path)
    said = Verdicts(id, centre, status, float(reach), **notes, names=check_tags(names, path))
    return said.take((status != NEW) | (said.tags != ""))


def notes_of(reviewed: Any) -> dict[str, np.ndarray]:
    """Columns `NOTES` of `Verdicts` or detections, as text."""
    return {name: getattr(reviewed, name).astype(str) for name in NOTES}


def read_notes(table: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """Those of the columns `NOTES` that a table has.

    Raises
    ------
    InputError
        If a tag is not allowed.
    """
    notes = {name: np.asarray(table[name]).astype(str).astype(object) for name in NOTES if name in table}
    for text in sorted(set(notes.get("tags", ()))):
        check_tags(tags_of(text), path)
    return notes


def check_status(column: np.ndarray, path: str | Path) -> np.ndarray:
    """A table's column of statuses, (n,) text.

    Raises
    ------
    InputError
        If one is not allowed.
    """
    status = np.asarray(column).astype(str)
    unknown = sorted(set(status.tolist()) - set(STATUSES))
    if unknown:
        raise InputError(f"got the status '{unknown[0]:.40}' in '{path}'; allowed: {', '.join(STATUSES)}")
    return status.astype("<U8")
