"""What the box "Use what was found" shows in the viewer: fields of view, and features of regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer

from napari_connecto.core.volume import Level
from napari_connecto.widgets.viewer.show import placed_on, to_data
from napari_connecto.widgets.viewer.view import RESULT, selection_kept

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.results.fields.result import Fields
    from napari_connecto.workflows.cascade.results.regions import RegionCounts

FIELDS = "fields of view"
COLOUR = "white"


def show_fields(viewer: Any, fields: Fields, image: Layer, level: Level, before: Layer | None) -> Layer:
    """Show fields of view as rectangles in the plane, through all sections, in place of an earlier plan.

    Parameters
    ----------
    viewer
        Where they are shown.
    fields
        From `plan_fields`.
    image, level
        The image layer that was searched, and its level 0.
    before
        The layer of an earlier plan, or None.
    """
    per_nm = 1000.0 if fields.unit == "um" else 1.0
    start, stop = (to_data(corner * per_nm, level, 2) for corner in (fields.start_um, fields.stop_um))
    corners = [
        [start[:, 0], start[:, 1]],
        [start[:, 0], stop[:, 1]],
        [stop[:, 0], stop[:, 1]],
        [stop[:, 0], start[:, 1]],
    ]
    numbers = {
        "field": np.arange(1, len(fields) + 1),
        "objects": [len(ids) for ids in fields.objects],
        "z_start_um": np.round(fields.start_um[:, 0], 4),
        "z_stop_um": np.round(fields.stop_um[:, 0], 4),
    }
    if before is not None and before in viewer.layers:
        viewer.layers.remove(before)
    placed = {key: value[-2:] for key, value in placed_on(image).items()}
    with selection_kept(viewer, image):
        layer: Layer = viewer.add_shapes(
            np.transpose(np.array(corners), (2, 0, 1)),
            shape_type="rectangle",
            **placed,
            name=f"{FIELDS} ({image.name})",
            features=numbers,
            text={"string": "{field}", "size": 9, "color": COLOUR, "anchor": "upper_left"},
            face_color="transparent",
            edge_color=COLOUR,
            edge_width=max(1.0, float(np.median(stop - start)) / 120),
            metadata={RESULT: True},
        )
    return layer


def names_of(layer: Labels) -> dict[int, str]:
    """Names of regions by their label, where the layer's features have columns index and name."""
    table = layer.features
    if "index" not in table or "name" not in table:
        return {}
    return {int(label): str(name) for label, name in zip(table["index"], table["name"], strict=True)}


def show_counts(layer: Labels, counts: RegionCounts) -> None:
    """Add the columns of the counts to the features of the regions' layer, which napari shows under the mouse."""
    import pandas as pd  # keep opening the dock fast

    columns = pd.DataFrame(dict(counts.columns)).rename(columns={"id": "index"})
    columns = columns[columns["index"] > 0]
    own = layer.features
    if "index" in own and len(own):
        kept = own.drop(columns=[name for name in columns if name in own and name != "index"])
        columns = kept.merge(columns, on="index", how="outer")
    layer.features = columns
