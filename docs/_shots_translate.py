"""Pictures of the dock "X-ray to EM": the steps of a scene of ``docs/make_screenshots.py``, which is ``tools`` here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari

from napari_connecto.sample_data import list_translators
from napari_connecto.widgets.xray import dock as translate


def train(viewer: napari.Viewer, dock: Any, out: Path, tools: Any) -> None:
    """Training from the pair, to a translator that shows its calibration."""
    translate.output_folder = lambda: out
    dock.translator.choose_training()
    dock.train.em.setCurrentIndex(1)
    dock.train.preset.setCurrentText("Quick")
    dock.train.preset.activated.emit(0)
    dock.train.bar.button.click()
    tools.wait(lambda: len(dock.train.curve.loss) > 60 or not dock.train.bar.worker.state.busy)
    tools.show_part(dock, dock.translator)
    tools.shoot(viewer, "translate_train")
    tools.wait(lambda: not dock.train.bar.worker.state.busy)


def run(viewer: napari.Viewer, dock: Any, tools: Any) -> None:
    """What it costs, what comes out, where not to believe it, and what segmenting gains; by the shipped translator."""
    dock.translator.use(list_translators()["synthetic"])
    tools.wait(lambda: dock.card.estimate is not None)
    tools.shoot(viewer, "translate_choose")
    tools.press(dock.bar, dock.bar.button)
    tools.show_part(dock, dock.card)
    tools.shoot(viewer, "translate_result")
    dock.trust.step(1)
    dock.trust.kind.setCurrentText("aleatoric")
    tools.show_part(dock, dock.trust)
    tools.shoot(viewer, "translate_worst")
    dock.trust.layers.uncertainty.visible = False
    dock.trust.fade.setChecked(True)
    tools.shoot(viewer, "translate_fade")
    dock.trust.fade.setChecked(False)
    dock.segment.model.setCurrentText("synthetic-neuropil")
    dock.segment.where.setCurrentText("Everywhere")
    tools.press(dock.segment.bar, dock.segment.bar.button)
    dock.segment.aside.setChecked(True)
    tools.show_part(dock, dock.segment)
    tools.shoot(viewer, "translate_segment")
    dock.segment.aside.setChecked(False)
    for layer in viewer.layers:
        if layer.name.startswith("segments"):
            layer.visible = False
    tools.press(dock.disputed.bar, dock.disputed.bar.button)
    tools.show_part(dock, dock.disputed)
    tools.shoot(viewer, "translate_doubt")
