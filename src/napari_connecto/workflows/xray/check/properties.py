"""Uncertainty of segments as neuroglancer reads it: a table beside the segments, sorted and filtered in its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_connecto.io.disk import write_json

if TYPE_CHECKING:
    from napari_connecto.workflows.xray.check.segments import Certainty

PROPERTIES = "properties"
TOLD = {
    "uncertainty": "mean entropy of the boundary, bits",
    "merge_uncertainty": "most uncertain merge, 0 to 1",
    "split_uncertainty": "most uncertain contact, 0 to 1",
}


def write_properties(folder: Path, certainty: Certainty) -> None:
    """Write ``properties/info`` into a folder: precomputed segment properties."""
    table = certainty.segments
    numbers = [
        {
            "id": name,
            "type": "number",
            "data_type": "float32",
            "description": told,
            "values": np.asarray(table[name], float).round(6).tolist(),
        }
        for name, told in TOLD.items()
    ]
    ids = [str(int(label)) for label in table["label"]]
    (folder / PROPERTIES).mkdir(parents=True, exist_ok=True)
    inline = {"ids": ids, "properties": numbers}
    write_json(folder / PROPERTIES / "info", {"@type": "neuroglancer_segment_properties", "inline": inline})
