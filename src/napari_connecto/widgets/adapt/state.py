"""What "Adapt to my data" knows of one image, kept with its layer while another one is chosen or the dock is closed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari.layers import Layer

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.session_jobs import Work
    from napari_connecto.widgets.adapt.jobs import Source
    from napari_connecto.widgets.adapt.kept import Kept


@dataclass(frozen=True)
class ImageState:
    """The session of an image (closed), what came out of it, how the image is read, and where all of it is kept."""

    source: Source | None = None
    work: Work | None = None
    tuned: Path | None = None
    kept: Kept | None = None
    invert: bool = False
    folder: tuple[str, Path] | None = None


STATES: WeakKeyDictionary[Layer, ImageState] = WeakKeyDictionary()
"""Of layers that no dock shows at present."""
