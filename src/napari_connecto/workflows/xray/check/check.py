"""Check a translation by what it is for: find membranes and segments in it, and where these may be wrong.

The entropy of a boundary model's answer on the mean finds wrong membranes nearly as well as the disagreement of all
passes, which costs a segmentation of each, and much better than the standard deviation of grey values. Measured in
docs/benchmarks/translate.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import Normalisation, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import write_json
from napari_connecto.io.stores.job_folder import result_folder
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.segment.block import Passing
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment_job
from napari_connecto.workflows.shared.judged import Judge, need_judge_of
from napari_connecto.workflows.xray.check.entropy import entropy_of
from napari_connecto.workflows.xray.check.places import uncertain_places
from napari_connecto.workflows.xray.check.properties import write_properties
from napari_connecto.workflows.xray.check.segments import STAGE, Certainty, certainty_job
from napari_connecto.workflows.xray.place import Place
from napari_connecto.workflows.xray.translate import Translation

CHECK, PLACES = "check.json", 10
"""What was checked with; number of places."""
OWN, TILE = "the translator's own membranes", (64, 128, 128)
"""Name of a translator's own membranes in place of a boundary model's, and tile in which they are handed on."""
SEGMENTING, LOOKING = "finding membranes and segments", "finding uncertain places"


@shown
@dataclass(frozen=True)
class CheckedTranslation:
    """Membranes and segments of a translation, and where they may be wrong.

    Parameters
    ----------
    model
        Name of the boundary model; `OWN` for the translator's own membranes.
    probability
        Boundary probability, uint8 (255 is 1).
    entropy
        Its binary entropy, float32, bits: 0 where the model is sure, 1 where it cannot decide. Computed when read.
    labels
        Segments, 1 to n.
    certainty
        Tables of segments and of decisions.
    places
        Where membranes are most uncertain, worst first.
    params
        Of the segmentation.
    """

    model: str
    probability: Volume
    entropy: Volume
    labels: Volume
    certainty: Certainty
    places: Sequence[Place]
    params: SegmentParams

    def lines(self) -> list[str]:
        """What was found, in words."""
        n, open_ = len(self.certainty.segments["label"]), self.certainty.open_decisions
        by = OWN if self.model == OWN else f"boundary model '{self.model}'"
        told = [f"{n} segments by {by}; {open_} decisions to merge or split are uncertain"]
        if self.places:
            told.append(self.places[0].sentence)
        return told


def check_translation(
    found: Translation,
    model: Predictor | None = None,
    params: SegmentParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    xray: Volume | None = None,
    places: int = PLACES,
    client: Any = None,
    guard: Judge | None = None,
) -> CheckedTranslation:
    """Find membranes and segments in a translation, and where these may be wrong.

    Parameters
    ----------
    found
        From `translate`.
    model
        A boundary model for EM; its first output is used. Default: the translator's own membranes, where it has such.
    params
        Of the segmentation. Default: 3-D where voxels are near cubes.
    out
        Result folder: ``labels/labels.zarr``, ``boundary``, ``segments.csv``, ``decisions.csv`` and ``properties``
        (for neuroglancer). An unfinished result is resumed. Default: a temporary folder.
    region
        Part to check, in voxels of the mean's finest level. Default: all of it.
    xray
        The untranslated volume, for the reasons of places.
    places
        Number of uncertain places to list.
    client
        A ``distributed.Client``: tiles run on its workers.
    guard
        The boundary model's `Guard`, see `segment`: it judges the mean and the membranes found in it.

    Returns
    -------
    CheckedTranslation
        ``entropy``, ``labels``, ``certainty`` and ``places``.

    Raises
    ------
    VoxelSizeError, InputError
        If translation and model do not fit, the region lies outside, or there is no model and the translator has no
        membranes of its own.
    StoreError
        If ``out`` belongs to something else.

    Examples
    --------
    >>> xray = nc.open_sample("xray").levels[0]
    >>> xray = nc.Volume.from_array(xray.read(nc.Box((0, 0, 0), (8, 16, 16))), xray.voxel_nm)
    >>> translator = nc.load_translator(nc.list_translators()["synthetic"], device="cpu", tile=(24, 48, 48))
    >>> found = nc.translate(xray, translator)
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> checked = nc.check_translation(found, model, out="checked")
    >>> len(checked.certainty.segments["label"]) == checked.labels.metadata["segments"]
    True
    """
    how: dict[str, Any] = {"region": region, "xray": xray, "places": places, "client": client, "guard": guard}
    return run(check_translation_job(found, model, params, out=out, **how))


def check_translation_job(
    found: Translation,
    model: Predictor | None = None,
    params: SegmentParams | None = None,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    xray: Volume | None = None,
    places: int = PLACES,
    client: Any = None,
    guard: Judge | None = None,
) -> Job[CheckedTranslation]:
    """`check_translation` as a job."""
    need_judge_of(model, guard)
    folder, params = Path(result_folder(out)), params or SegmentParams()
    phases = Phases({SEGMENTING: 1, STAGE: 0.1, LOOKING: 0.3})
    seen = found.mean
    if model is None:
        seen, model, params = _own(found, params)
    making = segment_job(seen, params, model=model, out=folder, region=region, client=client, guard=guard)
    labels = yield from phases.run(SEGMENTING, making)
    probability = open_volume(folder / "boundary" / f"{model.card.outputs[0].name}.zarr")
    certainty = yield from phases.run(STAGE, certainty_job(labels, probability, params))
    certainty.save(folder)
    write_properties(folder, certainty)
    params = replace(params, mode=str(labels.metadata.get("mode", params.mode)))
    kinds: dict[str, Any] = {"aleatoric": found.aleatoric, "epistemic": found.epistemic, "xray": xray, "params": params}
    listing = yield from phases.call(LOOKING, lambda: uncertain_places(probability, places, mean=found.mean, **kinds))
    entropy = entropy_of(probability)
    checked = CheckedTranslation(model.card.name, probability, entropy, labels, certainty, listing, params)
    write_json(folder / CHECK, {"model": model.card.name, "segments": len(certainty.segments["label"])})
    return checked


def _own(found: Translation, params: SegmentParams) -> tuple[Volume, Predictor, SegmentParams]:
    """The translator's membranes, and what hands them on as they are."""
    if found.membrane is None:
        raise InputError("this translator has no membranes of its own (--membranes in training); give a boundary model")
    level = found.membrane.levels[0]
    passing = Passing.over(level, vec3([min(n, t) for n, t in zip(level.shape, TILE, strict=True)]))
    card = replace(passing.card, name=OWN, normalisation=Normalisation("none"))
    return found.membrane, replace(passing, card=card), replace(params, directions="one")
