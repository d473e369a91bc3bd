"""Layers of a translation: EM-like image, its uncertainty, both combined, and the most uncertain regions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import SOURCE
from napari_connecto.widgets.viewer.lazy import Key, Lazy
from napari_connecto.widgets.viewer.show import placed_at, store_layer
from napari_connecto.widgets.viewer.view import OKABE_ITO, RESULT, selection_kept

if TYPE_CHECKING:
    from napari_connecto.workflows.xray.place import Place

MEAN, UNCERTAINTY, FADED, WORST, ENTROPY = (
    "EM-like (from X-ray)",
    "uncertainty",
    "EM-like, faded by uncertainty",
    "most uncertain regions",
    "uncertain membranes",
)
MEMBRANES = "membranes"
KINDS = ("total", "aleatoric", "epistemic", MEMBRANES)
LINKED = ("scale", "translate", "locked_data_level")
"""Settings common to all images of a translation."""
SPAN = (0.0, 0.3)
"""Contrast limits of standard deviations until there are values to go by; the EM's range is 1."""


class Total(Lazy):
    """Both uncertainties of a level combined, or one of them, read lazily; change `kind` and refresh.

    ``empty`` where nothing is computed yet: napari draws NaN as transparent.
    """

    def __init__(self, aleatoric: Any, epistemic: Any, kind: str = "total", empty: float = 0.0) -> None:
        self.parts, self.kind, self.empty = {"aleatoric": aleatoric, "epistemic": epistemic}, kind, empty
        super().__init__(aleatoric.shape, np.float32, getattr(aleatoric, "chunks", None))

    def read(self, key: Key) -> np.ndarray:
        parts = {name: np.asarray(part[key]) for name, part in self.parts.items()}
        both = np.hypot(*parts.values())
        return np.where(both > 0, both if self.kind == "total" else parts[self.kind], np.float32(self.empty))


class Computed(Lazy):
    """A level of the mean, NaN (transparent) where nothing is computed yet; read lazily."""

    def __init__(self, mean: Any, total: Total) -> None:
        self.mean, self.total = mean, total
        super().__init__(total.shape, np.float32, total.chunks)

    def read(self, key: Key) -> np.ndarray:
        return np.where(self.total.read(key) > 0, np.asarray(self.mean[key]), np.float32(np.nan))


class Faded(Lazy):
    """A level as RGBA, read lazily: the mean in grey, opaque up to the standard deviation `at_most`, transparent from
    twice
    that and where nothing is computed. Change `at_most` and refresh.
    """

    def __init__(self, mean: Any, total: Total, at_most: float) -> None:
        self.mean, self.total, self.at_most = mean, total, at_most
        chunks = (*total.chunks, 4) if total.chunks is not None else None
        super().__init__((*total.shape, 4), np.uint8, chunks)

    def read(self, key: Key) -> np.ndarray:
        *space, colour = key
        sd = self.total.read(tuple(space))
        grey = np.clip(np.asarray(self.mean[tuple(space)]) * 255, 0, 255).astype(np.uint8)
        opaque = np.where(sd > 0, np.clip(2 - sd / self.at_most, 0, 1), 0)
        rgba = np.stack([grey, grey, grey, (opaque * 255).astype(np.uint8)], axis=-1)
        return rgba[..., colour]


class TranslationLayers:
    """The layers of one translation, on the grid of its X-ray layer; created with the first tile.

    Parameters
    ----------
    viewer
        Where they are shown.
    image, level
        The X-ray layer, and its level 0.
    """

    def __init__(self, viewer: Any, image: Layer, level: Level) -> None:
        self._viewer, self._image, self._level = viewer, image, level
        self._totals: list[Total] = []
        self._faded: list[Faded] = []
        self._next_refresh = 0.0
        self.volumes: Mapping[str, Volume] = {}
        self.mean: Layer | None = None
        self.uncertainty: Layer | None = None
        self.faded: Layer | None = None
        self.entropy: Layer | None = None
        self.worst: Layer | None = None

    @property
    def shown(self) -> list[Layer]:
        """X-ray, EM-like image and the uncertainty to look at first, as far as they are in the viewer."""
        third = self.entropy if self.entropy in self._viewer.layers else self.uncertainty
        return [x for x in (self._image, self.mean, third) if x is not None and x in self._viewer.layers]

    @property
    def images(self) -> list[Layer]:
        """Layers of the linked group that are still in the viewer."""
        return [x for x in (self.mean, self.uncertainty, self.faded) if x is not None and x in self._viewer.layers]

    @property
    def alive(self) -> bool:
        """Whether the EM-like layer is still in the viewer."""
        return self.mean is not None and self.mean in self._viewer.layers

    def show(self, volumes: Mapping[str, Volume], *, kind: str, at_most: float, fade: bool) -> None:
        """Show the stores of "mean", "aleatoric" and "epistemic" as one linked group.

        Only the EM-like layer is offered as an input to other docks.
        """
        self.volumes = volumes
        kind = KINDS[0] if kind == MEMBRANES else kind
        arrays = {name: store_layer(volume, self._image, self._level) for name, volume in volumes.items()}
        keywords = arrays["mean"][1]
        both = zip(arrays["aleatoric"][0], arrays["epistemic"][0], strict=True)
        self._totals = [Total(a, e, kind, empty=np.nan) for a, e in both]
        sure = [Total(*t.parts.values()) for t in self._totals]
        means = list(zip(arrays["mean"][0], sure, strict=True))
        self._faded = [Faded(m, t, at_most) for m, t in means]
        source = {SOURCE: volumes["mean"].source}
        look = {"contrast_limits": (0.0, 1.0), "name": part_name(MEAN), "metadata": source, "visible": not fade}
        self.mean = self._add([Computed(m, t) for m, t in means], **keywords, **look)
        look = {"rgb": True, "name": part_name(FADED), "metadata": {RESULT: True}, "visible": fade}
        self.faded = self._add(self._faded, **keywords, **look)
        look = {"contrast_limits": SPAN, "colormap": "inferno", "name": part_name(UNCERTAINTY)}
        look |= {"metadata": {RESULT: True}, "opacity": 0.7, "visible": False}
        self.uncertainty = self._add(self._totals, **keywords, **look)
        self._viewer.layers.link_layers([self.mean, self.faded, self.uncertainty], LINKED)

    def complete(self) -> None:
        """The translation is complete: update the names."""
        for layer, name in ((self.mean, MEAN), (self.faded, FADED), (self.uncertainty, UNCERTAINTY)):
            if layer is not None and layer in self._viewer.layers and layer.name.startswith(part_name(name)):
                layer.name = name

    def refresh(self, *, force: bool = False) -> None:
        """Refresh from the stores, for at most a tenth of the time."""
        now = time.perf_counter()
        if now < self._next_refresh and not force:
            return
        for layer in self.images:
            if layer.visible:
                layer.refresh(extent=False)
        self._next_refresh = time.perf_counter() + max(0.2, 9 * (time.perf_counter() - now))

    def adjust(self) -> None:
        """Set contrast limits to the total uncertainty in the middle section of the coarsest level, for every kind."""
        if self.uncertainty is None or self.uncertainty not in self._viewer.layers:
            return
        array = self._totals[-1]
        middle = (array.shape[0] // 2,) if array.ndim == 3 else ()
        seen = Total(*array.parts.values())[middle]
        if (seen > 0).any():
            self.uncertainty.contrast_limits = (0.0, float(np.percentile(seen[seen > 0], 99.5)))

    def show_entropy(self, volume: Volume) -> None:
        """Show how uncertain membranes are, bits; an earlier layer is replaced."""
        old, visible = self.entropy, False
        if old is not None and old in self._viewer.layers:
            visible = old.visible
            self._viewer.layers.remove(old)
        arrays, keywords = store_layer(volume, self._image, self._level)
        look: dict[str, Any] = {
            "contrast_limits": (0.0, 1.0),
            "colormap": "inferno",
            "blending": "additive",
            "name": ENTROPY,
        }
        look |= {"metadata": {RESULT: True}, "visible": visible}
        self.entropy = self._add(arrays, **keywords, **look)

    def choose(self, kind: str) -> None:
        """Show this uncertainty: of membranes, or of the image, total, aleatoric or epistemic."""
        membranes = kind == MEMBRANES
        if self.entropy is not None and self.entropy in self._viewer.layers:
            self.entropy.visible = membranes
        if membranes:
            if self.uncertainty is not None and self.uncertainty in self._viewer.layers:
                self.uncertainty.visible = False
            return
        for total in self._totals:
            total.kind = kind
        if self.uncertainty is not None and self.uncertainty in self._viewer.layers:
            self.uncertainty.visible = True
            self.uncertainty.refresh(extent=False)

    def fade(self, on: bool) -> None:
        """Fade the EM-like image where it is uncertain, or show all of it."""
        for layer in self.images:
            if layer in (self.faded, self.mean):
                layer.visible = on == (layer == self.faded)

    def set_limit(self, at_most: float) -> None:
        """Fade beyond this total standard deviation."""
        for faded in self._faded:
            faded.at_most = at_most
        if self.faded in self.images:
            self.refresh(force=True)

    def show_worst(self, regions: Sequence[Place]) -> None:
        """Frame the regions, each on its middle section; earlier frames are removed."""
        if self.worst is not None and self.worst in self._viewer.layers:
            self._viewer.layers.remove(self.worst)
        self.worst = None
        if not regions or not self.alive:
            return
        grid, n = self.volumes["mean"].levels[0], min(self._image.ndim, 3)
        place = {key: values[-n:] for key, values in placed_at(grid, self._image, self._level).items()}
        assert self.mean is not None
        place["translate"] = self.mean.translate  # also if it was moved beside the X-ray
        frames = [frame(region)[:, 3 - n :] for region in regions]
        look = {"face_color": "transparent", "edge_color": OKABE_ITO["accepted"], "name": WORST, "opacity": 1.0}
        width = max(1.0, float(np.ptp(frames[0][:, -1])) / 25)
        with selection_kept(self._viewer, self._image):
            self.worst = self._viewer.add_shapes(
                frames, shape_type="rectangle", edge_width=width, metadata={RESULT: True}, **look, **place
            )

    def mark(self, index: int) -> None:
        """Highlight one frame."""
        if self.worst is not None and self.worst in self._viewer.layers:
            colours = [OKABE_ITO["new"] if i == index else OKABE_ITO["accepted"] for i in range(self.worst.nshapes)]
            self.worst.edge_color = colours

    def _add(self, arrays: list[Any], **keywords: Any) -> Layer:
        data = arrays if len(arrays) > 1 else arrays[0]
        with selection_kept(self._viewer, self._image):
            layer: Layer = self._viewer.add_image(data, multiscale=len(arrays) > 1, **keywords)
        return layer


def part_name(name: str) -> str:
    """Name of a layer of an incomplete translation."""
    return f"{name}, part"


def frame(region: Place) -> np.ndarray:
    """Corners (4, 3) of a region on its middle section in napari's coordinates: the centre of voxel i is i."""
    (z0, y0, x0), (z1, y1, x1) = region.box.start, region.box.stop
    z, low, high = (z0 + z1) // 2, (y0 - 0.5, x0 - 0.5), (y1 - 0.5, x1 - 0.5)
    return np.array([[z, *low], [z, low[0], high[1]], [z, *high], [z, high[0], low[1]]], float)
