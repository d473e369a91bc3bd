"""Measure objects where they are stored: tile by tile, only where there are objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.centres import centres_job
from napari_connecto.workflows.cascade.results.masks import masks_job
from napari_connecto.workflows.cascade.results.params import MeasureParams
from napari_connecto.workflows.cascade.results.place import image_on, in_pixels

TABLE = "detections.csv"
SIZES = {"volume_um3": "volume {:.3g} um^3", "area_um2": "area {:.3g} um^2", "voxels": "size {:.3g} voxels"}
"""What says how large objects are, the best first; only voxels are known of an image without a voxel size."""


def measure(
    found: Detections | str | Path, volume: Volume | None = None, params: MeasureParams | None = None
) -> Detections:
    """Measure each object: size, intensity, elongation, distance to the border of what was searched.

    Masks are measured on their labels, tile by tile; memory does not grow with the image. Centres have no shape: their
    intensities are those of a ball of the typical diameter around each, and `Detections.measures` has no size for them.

    Parameters
    ----------
    found
        Detections, or the result folder of a search, whose ``detections.csv`` then gets the measurements too.
    volume
        The image that was searched, (z, y, x) or (c, z, y, x). Without it, intensities are not measured.
    params
        What to do with damaged chunks, and the ball's diameter; see `MeasureParams`.

    Returns
    -------
    Detections
        The same objects with ``measures``, columns (n,) by name. Of masks: ``voxels``; ``volume_um3``, or ``area_um2``
        in 2-D and where sections are unrelated; ``major_nm``, ``middle_nm`` (not in 2-D), ``minor_nm``, the axes of the
        ellipsoid with the same second moments; ``elongation``, 1 - minor / major, 0 for a ball; ``sections`` spanned.
        Of all: ``mean`` and ``sd`` of the intensity (``mean_0``, ``sd_0``, ... where there are channels);
        ``border_nm``, the distance to the border of what was searched (in y and x alone, in 2-D); ``touches_border``.
        NaN where no voxel could be read. In pixels, where the voxel size is unknown, lengths are pixels.

    Raises
    ------
    InputError
        If ``found`` holds no result, centres come without an image, or labels and image are of different grids.
    ChunkError
        If a chunk is damaged, unless ``params.on_bad_chunk`` says otherwise.
    StoreError
        If the table cannot be written.

    Examples
    --------
    >>> volume, region = nc.open_sample("neuropil"), nc.Box((0, 0, 0), (8, 128, 128))
    >>> cascade = nc.load_cascade(nc.list_cascades()["mitochondria"], device="cpu")
    >>> found = nc.detect(volume, cascade, nc.DetectParams(audit=0), out="found", region=region)
    >>> measured = nc.measure("found", volume)
    >>> large = measured.where(measured.measures["volume_um3"] > 0.01)
    >>> large.save("large.csv")
    """
    return run(measure_job(found, volume, params))


def measure_job(
    found: Detections | str | Path, volume: Volume | None = None, params: MeasureParams | None = None
) -> Job[Detections]:
    """`measure` as a job; a folder's table is replaced at its end, so a cancelled job leaves nothing behind."""
    params = params or MeasureParams()
    if not isinstance(found, Detections):
        folder = Path(found)
        measured = yield from measure_job(Detections.load(folder), volume, params)
        keep_measures(folder, measured)
        return measured
    volume = volume.in_pixels() if volume is not None and in_pixels(found) else volume
    if found.labels is not None:
        image = None if volume is None else image_on(volume, found.labels.levels[0])
        columns = yield from masks_job(found, found.labels.levels[0], image, params.on_bad_chunk)
    elif volume is None:
        raise InputError("a search for centres has no labels, only intensities can be measured; give the image")
    else:
        columns = yield from centres_job(found, volume, params)
    return replace(found, measures={**found.measures, **columns})


def keep_measures(folder: Path, measured: Detections) -> None:
    """Write measurements into the table of a result folder, whose other columns stay.

    Raises
    ------
    InputError
        If the folder holds other objects by now.
    StoreError
        If it cannot be written.
    """
    own = Detections.load(folder / TABLE)
    of_own = measured.where(np.isin(measured.id, own.id))
    if len(of_own) != len(own) or (of_own.centre_nm != own.centre_nm).any():
        raise InputError(f"'{folder}' was searched again and holds other objects now; measure again")
    replace(own, measures=of_own.measures).save(folder / TABLE)


def measured_lines(measured: Detections) -> list[str]:
    """How many were measured, and the median of what says most."""
    missing = np.count_nonzero(measured.measures["voxels"] == 0) if "voxels" in measured.measures else 0
    lines = [f"{len(measured) - missing} objects measured"]
    if missing:
        lines.append(f"{missing} without a mask not measured")
    size = next((name for name in SIZES if name in measured.measures), "voxels")
    for name, what in ((size, SIZES[size]), ("mean", "intensity {:.3g}")):
        column = np.asarray(measured.measures.get(name, ()), float)
        column = column[column > 0] if name == size else column  # an added object has no mask
        if np.isfinite(column).any():
            lines.append(f"median {what.format(np.nanmedian(column))}")
    if "touches_border" in measured.measures:
        cut = np.count_nonzero(measured.measures["touches_border"])
        lines.append(f"{cut or 'none'} touch the border of what was searched")
    return ["; ".join(lines)]
