"""Sections of volumes as small JPEGs in data URIs; the amount read is bounded for any size of volume."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Ellipse, Rectangle

from napari_connecto.core.geometry import Box, FVec3, fvec3, vec3
from napari_connecto.core.volume import Level, Volume

SIDE = 900
"""Largest extent of a section along y and x, voxels."""
DEEPEST = 24
"""Largest number of sections in a projection."""
ORANGE = "#E69F00"


@dataclass(frozen=True)
class Place:
    """A part of the world: corners in nm, (z, y, x)."""

    start_nm: FVec3
    stop_nm: FVec3

    @classmethod
    def of(cls, level: Level, box: Box | None = None) -> Place:
        """The place of a box of a level; without one, of the whole level."""
        box = box or level.box
        return cls(fvec3(level.to_nm(box.start).tolist()), fvec3(level.to_nm(box.stop).tolist()))

    def around(self, centre_nm: Sequence[float], side_nm: float) -> Place:
        """A square around a point, one section thick."""
        z, y, x = centre_nm
        half = side_nm / 2
        corners = [
            (z, z),
            *(
                (max(a, c - half), min(b, c + half))
                for c, a, b in zip((y, x), self.start_nm[1:], self.stop_nm[1:], strict=True)
            ),
        ]
        return Place(fvec3([a for a, _ in corners]), fvec3([b for _, b in corners]))

    @property
    def middle_nm(self) -> float:
        """The middle z."""
        return (self.start_nm[0] + self.stop_nm[0]) / 2


@dataclass(frozen=True)
class Section:
    """One section: values (y, x), and its place."""

    values: np.ndarray
    place: Place

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in micrometres."""
        (_, top, left), (_, bottom, right) = self.place.start_nm, self.place.stop_nm
        return left / 1000, right / 1000, bottom / 1000, top / 1000


Panel: TypeAlias = tuple[str, Section | None, str]
"""Title, section (omitted if None), and how to draw it, see `strip`."""


def section(
    volume: Volume, place: Place | None = None, z_nm: float | None = None, *, reach_nm: float = 0.0, side: int = SIDE
) -> Section | None:
    """The section of a place at z (default: its middle), from the finest level of at most ``side`` voxels across.

    If even the coarsest level is larger, the middle of the place is cut out. With ``reach_nm`` it is the brightest of
    at
    most `DEEPEST` sections within that distance above and below. None if volume and place do not overlap.
    """
    place = place or Place.of(volume.levels[0])
    z_nm = place.middle_nm if z_nm is None else z_nm
    level, box = next(
        ((k, b) for k in volume.levels if (b := _box(k, place, z_nm)) and max(b.shape[1:]) <= side),
        (volume.levels[-1], _box(volume.levels[-1], place, z_nm)),
    )
    if box is None:
        return None
    box = box.grow([0, *(-max(0, -(-(n - side) // 2)) for n in box.shape[1:])])
    away = int(reach_nm / level.voxel_nm[0])
    first, last = max(0, box.start[0] - away), min(level.shape[0] - 1, box.start[0] + away)
    brightest = None
    for z in np.unique(np.linspace(first, last, min(DEEPEST, last - first + 1)).astype(int)).tolist():
        block = np.asarray(level.read(box.shift((z - box.start[0], 0, 0))))
        plane = block.reshape(-1, *block.shape[-2:])[0]
        brightest = plane if brightest is None else np.maximum(brightest, plane)
    assert brightest is not None
    return Section(brightest, Place.of(level, box))


def _box(level: Level, place: Place, z_nm: float) -> Box | None:
    start, stop = level.to_voxels(place.start_nm), level.to_voxels(place.stop_nm)
    z = int(np.clip(np.floor(level.to_voxels((z_nm, 0, 0))[0]), 0, level.shape[0] - 1))
    low = [z, *np.floor(start[1:] + 1e-6).astype(int).tolist()]
    high = [z + 1, *np.ceil(stop[1:] - 1e-6).astype(int).tolist()]
    box = Box(vec3(low), vec3(high)).clip(level.shape)
    return box if box.size else None


def strip(
    panels: Sequence[Panel],
    *,
    circles: tuple[np.ndarray, float] | None = None,
    boxes: Sequence[tuple[str, Place]] = (),
    width: float = 9.2,
) -> str:
    """Sections side by side, as a JPEG.

    Parameters
    ----------
    panels
        Title, section, and how to draw it: "image" (grey, its own range), "unit" (grey, 0 to 1), "heat" (from 0, with a
        scale bar of values) or "labels" (one colour per id, with lines between them).
    circles
        Centres (n, 2), y and x in nm, and a radius in nm, drawn into all panels.
    boxes
        Numbered frames, drawn into all panels.
    width
        Total width in inches.
    """
    shown = [(title, cut, how) for title, cut, how in panels if cut is not None]
    ratio = max((cut.extent[2] - cut.extent[3]) / (cut.extent[1] - cut.extent[0]) for _, cut, _ in shown)
    each = min(width / len(shown), 6.4)
    canvas = Canvas(figsize=(each * len(shown), each * min(ratio, 1.6) + 0.65), dpi=120, layout="constrained")
    for axes, (title, cut, how) in zip(canvas.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        image = axes.imshow(**_drawn(cut, how), extent=cut.extent, interpolation="nearest", aspect="equal")
        if how == "heat":
            canvas.colorbar(image, ax=axes, shrink=0.8, pad=0.02).ax.tick_params(labelsize=7)
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("µm", fontsize=8)
        if circles is not None:
            _circle(axes, *circles)
        for name, place in boxes:
            _frame(axes, name, place)
        axes.set(xlim=cut.extent[:2], ylim=cut.extent[2:])
    out = io.BytesIO()
    canvas.savefig(out, format="jpg", bbox_inches="tight", pad_inches=0.08, pil_kwargs={"quality": 86})
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _circle(axes: Axes, centres_nm: np.ndarray, radius_nm: float) -> None:
    side = 2 * radius_nm / 1000
    for y, x in centres_nm / 1000:
        axes.add_patch(Ellipse((x, y), side, side, fill=False, edgecolor=ORANGE, linewidth=1.4))


def _frame(axes: Axes, name: str, place: Place) -> None:
    (_, y0, x0), (_, y1, x1) = np.array([place.start_nm, place.stop_nm]) / 1000
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=ORANGE, linewidth=1.4))
    label = {"facecolor": ORANGE, "pad": 1, "linewidth": 0}
    axes.annotate(name, (x0, y0), color="black", fontsize=7, va="bottom", bbox=label)


def _drawn(cut: Section, how: str) -> dict[str, Any]:
    values = cut.values
    if how == "labels":
        return {"X": coloured(values)}
    if how == "unit":
        return {"X": values, "cmap": "gray", "vmin": 0.0, "vmax": 255.0 if values.dtype == np.uint8 else 1.0}
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (0.5, 99.7)) if finite.size else (0.0, 1.0)
    if how == "heat":
        return {"X": values, "cmap": "cividis", "vmin": 0.0, "vmax": float(high) or 1.0}
    return {"X": values, "cmap": "gray", "vmin": float(low), "vmax": float(max(high, low + 1e-9))}


def coloured(ids: np.ndarray) -> np.ndarray:
    """A colour per id, RGB 0..1, dark between ids; 0 is white."""
    _, index = np.unique(ids, return_inverse=True)
    index = index.reshape(ids.shape)
    palette = np.random.default_rng(7).uniform(0.35, 0.95, (int(index.max()) + 1, 3))
    rgb = palette[index]
    rgb[ids == 0] = 1.0
    edge = np.zeros(ids.shape, bool)
    for axis in (0, 1):
        differ = np.diff(ids.astype(np.int64), axis=axis) != 0
        first = [slice(None), slice(None)]
        first[axis] = slice(0, -1)
        edge[tuple(first)] |= differ
    rgb[edge] *= 0.25
    return rgb
