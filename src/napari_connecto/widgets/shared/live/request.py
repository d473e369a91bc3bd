"""What a dock asks a live view for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from napari_connecto.compute.live.mosaic import Blocks
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Level, Volume

if TYPE_CHECKING:
    from napari_connecto.compute.live.job import Asked, Seen

Watch = Callable[["Seen"], None]


@dataclass(frozen=True)
class Look:
    """How a picture is shown: the layer's name, and keywords of ``add_image`` or ``add_labels``."""

    name: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What is computed, and how it is shown.

    Parameters
    ----------
    image, level
        The image layer, and its level 0.
    volume
        What is computed on; views are in voxels of its finest level.
    key
        What computed tiles belong to: they are shown again as long as it is the same.
    job
        Makes the job, see `live_job`, of views and of where tiles are kept.
    looks
        By the name of the picture.
    depth
        Sections of level 0 around the one in view that belong to the view.
    watch
        Called with each `Seen`, in the GUI thread.
    shown
        Layers that ``watch`` made.
    """

    image: Layer
    level: Level
    volume: Volume
    key: Hashable
    job: Callable[[Asked, Blocks], Job[None]]
    looks: Mapping[str, Look]
    depth: float = 0.0
    watch: Watch | None = None
    shown: Callable[[], list[Layer]] = list
