"""Draw docs/images/overview.png from a real run on the sample: ``python docs/make_overview.py`` (needs matplotlib)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import napari_connecto as nc
from napari_connecto.sample_data import cascade_folder
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.descent import Scores, Step, children, passing, plan_steps, roots

ORANGE, GREY = "#e69f00", "#999999"


def main(picture: Path) -> None:
    """Run the shipped cascade on the sample and draw the chunks that each level classified."""
    volume = nc.open_sample("cells")
    cascade = nc.load_cascade(cascade_folder("cells"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        found = nc.detect(volume, cascade, out=out)
        steps = list(reversed(plan_steps(volume, cascade, cascade.choose())))
        fig, axes = plt.subplots(1, len(steps) + 1, figsize=(3 * (len(steps) + 1), 3.6), layout="compressed")
        looked = roots(steps[0], None)
        for k, (axis, step) in enumerate(zip(axes, steps, strict=False)):
            passed = passing(looked, Scores.open(out / f"scores_{step.stage}.bin").known, step.threshold)
            panel(axis, step, looked, passed, found.report)
            if k + 1 < len(steps):
                looked = children(step, passed, steps[k + 1], None)
    objects(axes[-1], volume, found)
    picture.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(picture, dpi=150)


def panel(axis: plt.Axes, step: Step, looked: np.ndarray, passed: np.ndarray, report: dict) -> None:
    """Maximum projection of a level: dark where nothing was classified, outlined where chunks passed."""
    image = brightest(step.level)
    axis.imshow(image, cmap="gray", vmax=np.percentile(image, 99.8))
    shade = np.full((*image.shape, 4), (0.0, 0.0, 0.0, 0.75))
    for tile in step.plan.tiles(looked):
        shade[tile.write.slices[1:]] = 0
    axis.imshow(shade)
    for tile in step.plan.tiles(passed):
        (_, y, x), (_, height, width) = tile.write.start, tile.write.shape
        axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec=ORANGE, lw=1.2))
    level = next(level for level in report["levels"] if level["name"] == step.name)
    title = f"{step.name.capitalize()}: {level['share']:.0%} of the volume read"
    axis.set_title(f"{title},\n{len(passed)} of {len(looked)} chunks pass")
    axis.set_axis_off()


def objects(axis: plt.Axes, volume: nc.Volume, found: Detections) -> None:
    """Maximum projection of the finest level, with a circle around each detection."""
    level = volume.levels[0]
    image = brightest(level)
    axis.imshow(image, cmap="gray", vmax=np.percentile(image, 99.8))
    at = level.to_voxels(found.centre_nm)
    axis.scatter(at[:, 2], at[:, 1], s=60, facecolors="none", edgecolors=ORANGE, linewidths=1.2)
    bound = found.report["audit"]["lost_upper"]
    axis.set_title(f"{len(found)} cells found,\nat most {bound:.0%} missed (audit, 95%)")
    axis.set_axis_off()


def brightest(level: nc.Level) -> np.ndarray:
    """Maximum along z, (y, x)."""
    return level.read(level.box).max(axis=0)


if __name__ == "__main__":
    main(Path(__file__).parent / "images" / "overview.png")
