"""napari with the results of ``napari-connecto demo``: each sample, its detections, and the dock."""

from __future__ import annotations

import sys
from pathlib import Path

import napari

from napari_connecto.core.volume import Volume
from napari_connecto.sample_data import SAMPLES, open_sample
from napari_connecto.widgets.cascade.dock import CascadeWidget
from napari_connecto.widgets.cascade.layers import ResultLayers
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.viewer.show import layer_data
from napari_connecto.workflows.cascade.detections import Detections


def fill_viewer(viewer: napari.Viewer, found: dict[str, tuple[Volume, Detections]]) -> CascadeWidget:
    """Show each volume with its detections (only the first is visible) and open the dock; returns the dock."""
    for number, (name, (volume, detections)) in enumerate(found.items()):
        before = set(viewer.layers)
        data, keywords, _ = layer_data(volume, name=f"{name} (synthetic)")
        image = viewer.add_image(data, **keywords)
        review = Review(detections)
        finest = detections.report["levels"][-1]["voxel_nm"]
        layers = ResultLayers(viewer, image, volume.levels[0], finest, by=detections.report.get("cascade", ""))
        layers.show(review)
        layers.show_masks(review)
        for layer in set(viewer.layers) - before:
            layer.visible = number == 0
    viewer.reset_view()
    dock = CascadeWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Cascade detection", area="right")
    return dock


def main(folder: Path) -> None:
    """Open napari on the folder that the demo wrote; returns when napari is closed."""
    found = {name: (open_sample(name), Detections.load(folder / name)) for name in SAMPLES}
    fill_viewer(napari.Viewer(title="napari-connecto demo"), found)
    napari.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
