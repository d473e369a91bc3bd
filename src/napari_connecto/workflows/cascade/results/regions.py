"""Count detections per region of a labels image, such as an atlas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import write_table
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.chosen import chosen
from napari_connecto.workflows.cascade.results.params import RegionParams
from napari_connecto.workflows.cascade.results.place import in_pixels, searched_nm
from napari_connecto.workflows.cascade.results.region_names import read_region_names
from napari_connecto.workflows.cascade.results.region_sums import regions_at_job, sizes_job

OUTSIDE = "outside"
"""Name of 0, which is no region."""
LARGEST = 5
"""Number of regions that are told in words."""


@shown
@dataclass(frozen=True)
class RegionCounts:
    """Detections per region.

    Parameters
    ----------
    columns
        (n,) by name: ``id`` and ``name`` of the region, ``objects``; the part of the region that was searched,
        ``volume_mm3``, and ``density_per_mm3``; the sum of what the objects measure, ``object_volume_um3``, if they
        were measured. Areas (``area_mm2``, ``density_per_mm2``, ``object_area_um2``) where the regions have one
        section. In pixels (``volume_px3``, ``density_per_px3``) where the voxel size is unknown.
    found
        All detections, with the id of their region in ``measures["region"]``.
    """

    columns: Mapping[str, np.ndarray]
    found: Detections

    def __len__(self) -> int:
        return len(self.columns["id"])

    def save(self, path: str | Path) -> None:
        """Write the columns as a table, ``.csv`` or ``.parquet``.

        Raises
        ------
        InputError
            If the suffix is another.
        StoreError
            If it cannot be written.
        """
        write_table(path, self.columns)

    def lines(self) -> list[str]:
        """Where most objects are, in words."""
        objects, ids, names = (self.columns[name] for name in ("objects", "id", "name"))
        inside = objects[ids != 0].sum()
        lines = [f"{inside} of {objects.sum()} objects lie in {np.count_nonzero((objects > 0) & (ids != 0))} regions"]
        most = [i for i in np.argsort(-objects, kind="stable") if objects[i] and ids[i]][:LARGEST]
        density, (name, column) = "", next((n, c) for n, c in self.columns.items() if n.startswith("density"))
        for i in most:
            density = f", {column[i]:.3g} {name.removeprefix('density_').replace('_', ' ')}"
            lines.append(
                f"{names[i] or f'region {ids[i]}'}: {objects[i]} object{'' if objects[i] == 1 else 's'}{density}"
            )
        return lines


def count_regions(
    found: Detections | str | Path,
    regions: Volume,
    names: Mapping[int, str] | str | Path | None = None,
    params: RegionParams | None = None,
) -> RegionCounts:
    """Count detections per region of a labels image, with the volume of each region that was searched.

    Parameters
    ----------
    found
        Detections, or the result folder of a search. Rejected ones are left out.
    regions
        Labels, whole numbers (z, y, x); 0 is no region. Any voxel size and origin, but the same world and axes as the
        searched image: rotated atlases are registered first. Labels of one section hold for all z.
    names
        By id; or a table with columns id and name, or the ``structures.json`` of a brainglobe atlas.
    params
        Which detections, and what to do with damaged chunks; see `RegionParams`.

    Returns
    -------
    RegionCounts
        A row for each region that was searched or holds a detection. A detection belongs to the region at its centre;
        0 has those outside of all, and what was searched outside.

    Raises
    ------
    InputError
        If the regions are no labels, do not overlap what was searched, or ``found`` holds no result.
    VoxelSizeError
        If the regions state no voxel size, and the result does.
    ChunkError
        If a chunk is damaged, unless ``params.on_bad_chunk`` says otherwise.

    Examples
    --------
    >>> image = {"voxel_nm": [1000, 1000, 1000], "origin_nm": [0, 0, 0], "shape": [10, 10, 20]}
    >>> centres = np.array([[5e3, 5e3, 5e3], [5e3, 5e3, 6e3], [5e3, 5e3, 15e3]])  # nm, (z, y, x)
    >>> found = nc.Detections(centres, np.ones(3), np.zeros((3, 6), int), np.empty(0, int), {"image": image})
    >>> atlas = np.zeros((1, 1, 2), int) + [7, 8]  # voxels of 10 um: two regions side by side
    >>> counts = nc.count_regions(found, nc.Volume.from_array(atlas, (10e3, 10e3, 10e3)), {7: "left", 8: "right"})
    >>> dict(zip(counts.columns["name"].tolist(), counts.columns["objects"].tolist()))
    {'left': 2, 'right': 1}
    """
    return run(count_regions_job(found, regions, names, params))


def count_regions_job(
    found: Detections | str | Path,
    regions: Volume,
    names: Mapping[int, str] | str | Path | None = None,
    params: RegionParams | None = None,
) -> Job[RegionCounts]:
    """`count_regions` as a job; it reads the regions once, tile by tile, and begins anew after a cancel."""
    params = params or RegionParams()
    yield Progress(0, 0, "reading the result")
    found = found if isinstance(found, Detections) else Detections.load(found)
    known = read_region_names(names) if isinstance(names, str | Path) else dict(names or {})
    level = _labels(found, regions)
    flat, searched = level.shape[0] == 1, searched_nm(found)
    at = yield from regions_at_job(level, found.centre_nm, params.on_bad_chunk, flat=flat)
    sizes = yield from sizes_job(level, searched, params.on_bad_chunk, flat=flat)
    if not set(sizes) - {0} and not at.any():
        _refuse_apart(level, searched, regions.name)
    found = replace(found, measures={**found.measures, "region": at})
    used = chosen(found, params)
    ids = np.array(sorted({*sizes, *used.measures["region"].tolist()}), np.int64)
    size = np.array([sizes.get(i, 0.0) for i in ids.tolist()])
    told = [known.get(i, OUTSIDE if i == 0 else "") for i in ids.tolist()]
    return RegionCounts(_columns(used, ids, np.array(told, str), size, flat=flat), found)


def _labels(found: Detections, regions: Volume) -> Level:
    if in_pixels(found):
        regions = regions.in_pixels()
    if not regions.calibrated:
        raise VoxelSizeError(f"'{regions.name}' states no voxel size; give that of the regions in nm")
    level = regions.levels[0]
    if level.channels is not None or level.dtype.kind not in "iu":
        what = f"{level.dtype}" + ("" if level.channels is None else f" with {level.channels} channels")
        raise InputError(f"got regions of {what} in '{regions.name}'; expected labels: whole numbers, one channel")
    return level


def _refuse_apart(level: Level, searched: np.ndarray | None, name: str) -> None:
    if searched is None:
        return
    there = level.to_nm([(0, 0, 0), level.shape])
    one, other = (f"z y x {_text(box[0])} to {_text(box[1])} um" for box in (there, searched))
    raise InputError(
        f"no region of '{name}' ({one}) overlaps what was searched ({other}); check the voxel size and the origin of "
        "the regions"
    )


def _text(corner_nm: np.ndarray) -> str:
    return " ".join(f"{v / 1000:.4g}" for v in corner_nm)


def _columns(
    used: Detections, ids: np.ndarray, names: np.ndarray, size: np.ndarray, *, flat: bool
) -> dict[str, np.ndarray]:
    """Columns of `RegionCounts`; ``size`` in nm^2 or nm^3, or in pixels."""
    rows = np.searchsorted(ids, used.measures["region"])
    objects = np.bincount(rows, minlength=len(ids))
    power, what = (2, "area") if flat else (3, "volume")
    unit, per = ("px", 1.0) if in_pixels(used) else ("mm", 1e6**power)
    size = size / per
    density = np.divide(objects, size, out=np.full(len(ids), np.nan), where=size > 0)
    columns = {"id": ids, "name": names, "objects": objects}
    columns |= {f"{what}_{unit}{power}": size, f"density_per_{unit}{power}": density}
    if (measured := f"{what}_um{power}") in used.measures:
        each = np.nan_to_num(used.measures[measured])
        columns[f"object_{measured}"] = np.bincount(rows, each, minlength=len(ids))
    return columns
