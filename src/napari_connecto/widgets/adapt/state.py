"""State of "Adapt to my data" for one image, stored with its layer while another one is chosen or the dock is
closed."""

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
    """The (closed) session of an image, its results, how the image is read, and the project's folder."""

    source: Source | None = None
    work: Work | None = None
    tuned: Path | None = None
    kept: Kept | None = None
    invert: bool = False
    folder: tuple[str, Path] | None = None


STATES: WeakKeyDictionary[Layer, ImageState] = WeakKeyDictionary()
"""States of layers that no dock shows at present."""
