"""A reviewer's verdicts on detections, and their file in a search's folder. Light, because docks import it.

The ids of detections change when a folder is searched again (Run all after Preview, another threshold); positions do
not. So a verdict belongs to a position: it applies to the nearest detection within half the object diameter, because
two objects are no nearer than that. A verdict without a detection is kept, for a later search may find it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.io.tables.tables import numbers_of, places_of, read_table, write_table

NEW, ACCEPTED, REJECTED = STATUSES = ("new", "accepted", "rejected")
REVIEW = "review.csv"


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
        (n,) "accepted" or "rejected".
    reach_nm
        Largest distance of a detection from a verdict's position, nm.
    """

    id: np.ndarray
    centre_nm: np.ndarray
    status: np.ndarray
    reach_nm: float = 0.0

    def __len__(self) -> int:
        return len(self.status)

    @classmethod
    def none(cls, reach_nm: float = 0.0) -> Verdicts:
        """No verdicts."""
        return cls(np.empty(0, np.int64), np.empty((0, 3)), np.empty(0, "<U8"), reach_nm)

    def match(self, centre_nm: np.ndarray) -> tuple[np.ndarray, Verdicts]:
        """The status (m,) of detections at ``centre_nm`` (m, 3), and the verdicts that match none of them.

        If several verdicts match one detection, the nearest counts.
        """
        status = np.full(len(centre_nm), NEW, "<U8")
        if not len(self) or not len(centre_nm):
            return status, self
        from scipy.spatial import cKDTree

        distance, nearest = cKDTree(centre_nm).query(self.centre_nm)
        far_to_near = np.argsort(-distance, kind="stable")
        on = far_to_near[distance[far_to_near] <= self.reach_nm]
        status[nearest[on]] = self.status[on]
        rest = np.flatnonzero(distance > self.reach_nm)
        left = Verdicts(np.zeros(len(rest), np.int64), self.centre_nm[rest], self.status[rest], self.reach_nm)
        return status, left

    def __add__(self, other: Verdicts) -> Verdicts:
        """Both together, with the reach of this one."""
        return Verdicts(
            np.concatenate([self.id, other.id]),
            np.concatenate([self.centre_nm, other.centre_nm]),
            np.concatenate([self.status, other.status]),
            self.reach_nm,
        )


def write_verdicts(folder: Path, verdicts: Verdicts) -> None:
    """Write ``review.csv`` in a search's result folder, as a whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    places = {f"{axis}_nm": verdicts.centre_nm[:, i] for i, axis in enumerate("zyx")}
    columns = {"id": verdicts.id, **places, "status": verdicts.status}
    write_table(folder / REVIEW, columns, {"reach_nm": verdicts.reach_nm})


def read_verdicts(folder: Path) -> Verdicts:
    """Read ``review.csv`` in a search's result folder; no verdicts if there is none.

    Raises
    ------
    InputError
        If it is damaged, not such a table, or cannot be read.
    """
    path = folder / REVIEW
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
    reach = header.get("reach_nm", 0.0)
    if not (isinstance(reach, int | float) and 0 <= reach < np.inf):
        raise InputError(f"'{path}' has a reach of {reach!r}; it is a number of nm, 0 or more")
    verdicts = Verdicts(numbers_of(table, "id", path).astype(np.int64), centre, status, float(reach))
    said = status != NEW
    return replace(verdicts, id=verdicts.id[said], centre_nm=centre[said], status=status[said])


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
