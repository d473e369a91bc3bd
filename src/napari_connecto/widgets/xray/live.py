"""Live translation: one pass over what is in view, then all passes, with their uncertainty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.shared.commands import HERE
from napari_connecto.widgets.shared.live.held import held
from napari_connecto.widgets.shared.live.live import OPEN_IMAGE, LiveButton
from napari_connecto.widgets.shared.live.request import Look, Request
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.xray.jobs import Translating, load
from napari_connecto.widgets.xray.layers import MEAN, SPAN, UNCERTAINTY

if TYPE_CHECKING:
    from napari_connecto.compute.live.job import Asked
    from napari_connecto.compute.live.mosaic import Blocks
    from napari_connecto.widgets.xray.dock import TranslateWidget


def live_button(dock: TranslateWidget) -> LiveButton:
    """The button *Live* of the dock."""
    changes = (dock.image.changed, dock.translator.changed, dock.options.changed)
    return LiveButton(dock._viewer, dock.bar, [dock.bar], lambda: _request(dock), changes, lambda: _missing(dock))


def _missing(dock: TranslateWidget) -> str:
    if dock.image.layer is None:
        return OPEN_IMAGE
    return "" if dock.translator.peeked is not None else "choose a translator"


def live_translation_job(what: Translating, asked: Asked, blocks: Blocks) -> Job[None]:
    """Translate what is asked for, into the folder of the translation; here, or on the cluster at the address."""
    yield from torch_job()
    from napari_connecto.compute.live.job import live_job
    from napari_connecto.workflows.xray.live import LiveTranslation

    yield Progress(0, 0, "loading the translator")
    translator = load(what.model)

    def make(client: Any) -> Job[None]:
        with held(what.out):
            work = LiveTranslation(what.volume, translator, what.params, what.out, blocks, client)
            yield from live_job(work, asked)

    yield from replace(what, run_on=what.run_on if what.run_on.scheduler else HERE).job(make)


def _request(dock: TranslateWidget) -> Request:
    dock.image.settle()
    what, image, full = dock.translating(), dock.image.layer, dock.image.full
    if image is None or full is None:
        raise InputError("no image is chosen; choose an X-ray image")
    looks = {
        "mean": Look(f"live {MEAN}", {"contrast_limits": (0.0, 1.0)}),
        "uncertainty": Look(
            f"live {UNCERTAINTY}",
            {"contrast_limits": SPAN, "colormap": "inferno", "opacity": 0.7, "visible": False},
        ),
    }
    key = (what.out, what.model, what.params)
    return Request(
        image, full.levels[0], what.volume, key, lambda asked, blocks: live_translation_job(what, asked, blocks), looks
    )
