"""Find sparse objects: detect, train-cascade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, loading
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.recipes.entries.run import (
    Backend,
    OnImage,
    Summary,
    backend_field,
    error_map_field,
    region_field,
)
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class WithDetector(OnImage):
    """What a workflow needs that may work with any detector."""

    detector: str | None = param(
        None,
        "Detector at the finest level: a model's folder, a bioimage.io package (file, folder, URL), or a name (blobs, "
        "cellpose, ...).",
        role="detector",
    )
    detector_options: str = param("", "Options of a registered detector, e.g. 'diameter_nm=8000 dark=true'.")
    detector_output: str = param("", "Output of the detector to use; default: the first.")
    detector_shown: str = param(
        "auto",
        "How that output shows objects: as it is, inverse (the inside of boundaries), sigmoid (it gives logits), or "
        "auto: the inverse of boundary models.",
        choices=("auto", "as it is", "inverse", "sigmoid"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        about = (self.detector_options, self.detector_output, self.detector_shown != "auto")
        if self.detector is None and any(about):
            raise InputError("got settings of a detector, but no detector; give one, or omit them")


@dataclass(frozen=True, kw_only=True)
class Detect(WithDetector):
    """Find sparse objects in PATH: search all of it at low resolution, and at full resolution only where needed.

    A detector alone searches all of it; `train-cascade` makes a cascade around it.
    """

    workflow: ClassVar[str] = "detect"
    clustered: ClassVar[bool] = True
    estimates: ClassVar[bool] = True

    cascade: str | None = param(
        None, "Folder of a cascade, or the name of a shipped one (see `models`).", role="cascade"
    )
    region: Box | None = region_field()
    backend: Backend = backend_field()
    error_map: bool = error_map_field(
        "Also write a map of where the answer is probably wrong, and the worst places, into OUT/check; reads all of "
        "the image at the finest level, which is not in the estimate. The cascade's finest model needs a guard (see "
        "guard fit)."
    )
    params: DetectParams = param(DetectParams(), "How it searches.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.cascade is None) == (self.detector is None):
            raise InputError("a search needs either a cascade or a detector; give one of them")

    def job(self, client: Any) -> Job[Summary]:
        """Search."""
        from napari_connecto.workflows.recipes.cascade import detect

        return detect(self, client)

    def estimate_job(self) -> Job[Estimate]:
        """What the search would cost; each level is timed on two tiles."""
        yield loading("torch")
        from napari_connecto.workflows.recipes.cascade import detect_cost

        return (yield from detect_cost(self))


@dataclass(frozen=True, kw_only=True)
class TrainCascade(WithDetector):
    """Train a cascade on PATH from labels on part of it, or around a detector that needs no labels.

    The coarse levels learn from what the detector finds; labels are measured. A table of points with a column status,
    as a review leaves it, teaches only what was accepted and rejected.
    """

    workflow: ClassVar[str] = "train-cascade"
    trains: ClassVar[bool] = True

    labels: VolumeSpec | None = param(
        None, "Mask or instance labels, aligned with PATH in nm: any readable volume.", role="labels"
    )
    points: str | None = param(None, "Centres, see `export points`; they need a diameter.", role="input")
    review: str | None = param(
        None,
        "With labels: verdicts on the objects; result folder of a search, or a table with a column status.",
        role="input",
    )
    reviewed: tuple[Box, ...] = param(
        (),
        "Box inside which every object is labelled, in voxels of the labels (of PATH with points); repeat the "
        "option for each box. Unlabelled voxels outside are unknown.",
    )
    previous: str | None = param(None, "Cascade to compare with on the same held-out objects.", role="cascade")
    out: str = param(REQUIRED, "Folder of the cascade; a new one, or empty.", role="out")
    params: TrainParams = param(TrainParams(), "How it is trained.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is not None and self.points is not None:
            raise InputError("training a cascade needs either labels or points; give one of them")
        if self.labels is None and self.points is None and self.detector is None:
            raise InputError("training a cascade needs labels, points or a detector; give one of them")
        if self.detector is not None and self.previous is not None:
            raise InputError("a detector is not trained, so there is no previous cascade to continue from; omit it")
        if self.points is not None and self.review is not None:
            raise InputError("points have their own verdicts, and a review goes with labels; leave one out")
        if self.points is not None and self.params.diameter_nm <= 0:
            raise InputError("points need a diameter: give diameter_nm, the typical size of an object in nm")

    def job(self, client: Any) -> Job[Summary]:
        """Train, then save the cascade."""
        from napari_connecto.workflows.recipes.cascade import train_cascade

        return train_cascade(self)
