"""The dock "X-ray to EM": translate, judge the uncertainty, and compare segmentations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QWidget

from napari_connecto.core.errors import ConnectoError, InputError, VoxelSizeError
from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.shared.error_map import OF_TRANSLATION, ErrorMapBox
from napari_connecto.widgets.shared.estimate_card import Fix
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.options import OptionsFold
from napari_connecto.widgets.shared.settings import AutomaticFolder, output_folder
from napari_connecto.widgets.shared.worker import State
from napari_connecto.widgets.viewer.view import inner, view_box
from napari_connecto.widgets.viewer.volumes import identity, lasting
from napari_connecto.widgets.xray.card import translate_card
from napari_connecto.widgets.xray.check_jobs import SEGMENTS
from napari_connecto.widgets.xray.choose import TranslatorBox
from napari_connecto.widgets.xray.disputed import DisputedBox
from napari_connecto.widgets.xray.jobs import (
    Translated,
    Translating,
    check_job,
    estimate_job,
    live,
    translating_job,
)
from napari_connecto.widgets.xray.live import live_button
from napari_connecto.widgets.xray.segment import SideBySideBox
from napari_connecto.widgets.xray.segment_jobs import Source
from napari_connecto.widgets.xray.train import PairBox
from napari_connecto.widgets.xray.trust import TrustBox
from napari_connecto.workflows.xray.translate_params import TranslateParams

if TYPE_CHECKING:
    import napari


class TranslateWidget(Dock):
    """Choose X-ray and translator (or train one), see the cost, preview, run, cancel, resume; then judge the result."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._automatic = AutomaticFolder("em-like-")
        self._running: Source | None = None
        self._everything = self._fresh = False
        self.image = InputBox(napari_viewer)
        self.translator = TranslatorBox()
        self.train = PairBox(napari_viewer, self.image, lambda: output_folder())
        self.options: OptionsFold[TranslateParams] = OptionsFold(TranslateParams)
        self.card = translate_card()
        told = "Translate the whole image, starting in view. Press again to cancel"
        self.bar = JobBar("X-ray to EM", "Run all", told, primary=True)
        self.preview = QPushButton("Preview in view")
        self.live = live_button(self)
        self.trust = TrustBox(napari_viewer)
        self.segment = SideBySideBox(napari_viewer, self.trust)
        self.errors = ErrorMapBox(napari_viewer, OF_TRANSLATION)
        self.disputed = DisputedBox(napari_viewer, self.trust, self.segment.disputing)
        self._lay_out()
        self._connect()
        self.train.hide()
        self.image.layers.chosen.emit()

    def _lay_out(self) -> None:
        self.preview.setToolTip("Translate only what is on screen; Run all then continues from there")
        self.bar.add_button(self.preview)
        self.lay_out(
            [
                self.image, self.translator, self.train, self.trust, self.card, self.options,
                self.segment, self.errors, self.disputed,
            ],
            footer=[self.bar],
        )  # fmt: skip
        self._show_stage()
        self.follow(self._viewer, self.image)

    def _connect(self) -> None:
        self.translator.changed.connect(self._on_translator_changed)
        for signal in (self.image.changed, self.options.changed):
            signal.connect(self._on_inputs_changed)
        self.image.layers.chosen.connect(self.bar.reset)
        self.options.copy.clicked.connect(lambda: self.bar.copy_command(self.command))
        self.card.blocked.connect(self.bar.block)
        self.preview.clicked.connect(self._on_preview)
        self.bar.clicked.connect(self._on_run)
        self.bar.worker.reported.connect(self._on_reported)
        self.bar.ended.connect(self._on_inputs_changed)
        self.bar.worker.state_changed.connect(self._on_state)
        self.bar.worker.returned.connect(self._on_translated)
        for bar in (self.bar, self.segment.bar, self.disputed.bar):
            bar.worker.state_changed.connect(self._let_go)
        self._viewer.layers.events.removed.connect(self._let_go)
        self.train.trained.connect(self.translator.use)
        for choice in (self.segment.model, self.segment.where):
            choice.currentTextChanged.connect(self.disputed.bar.forget)
        self.segment.listed.connect(lambda: self.segment.suit(self.translator.peeked))
        self.segment.model.currentTextChanged.connect(self._on_inputs_changed)
        self.segment.model.currentTextChanged.connect(lambda _: self.errors.suit(self.segment.boundary))

    def translating(self) -> Translating:
        """The translation as set in the dock.

        Raises
        ------
        InputError
            If a choice is missing.
        """
        volume, folder = self.image.need_volume(), self.translator.folder
        if folder is None:
            raise InputError("no translator is chosen; choose one, or train it from a pair")
        params = self.options.form.value
        question = identity(volume), folder, params
        mark = lasting(volume, folder, params)
        out = self.options.folder or self._automatic.of(question, volume.name, folder.name, output_folder(), mark)
        how: dict[str, Any] = {"boundary": self.segment.boundary, "named": self.segment.named}
        how["error_map"] = self.errors.wanted
        return Translating(volume, self.image.spec(volume), folder, params, out, self.options.run_on.value, **how)

    def command(self) -> str:
        """The shell command that does the same."""
        return self.translating().command

    def _on_translator_changed(self) -> None:
        peeked, training = self.translator.peeked, self.translator.training
        self.train.setVisible(training)
        self._show_stage()
        self.image.set_model(peeked.voxel_nm if peeked else None)
        self.segment.suit(peeked)
        self._on_inputs_changed()

    def _show_stage(self) -> None:
        """Before a translation, how it is made; with one, where it may be wrong first."""
        training, judging = self.translator.training, self.trust.layers is not None
        parts: list[QWidget] = [self.options, self.card, self.segment, self.errors, self.footer]
        for part in parts:
            part.setVisible(not training)
        self.trust.setVisible(judging and not training)
        self.disputed.setVisible(judging and not training)

    def _on_inputs_changed(self) -> None:
        self.bar.forget()
        try:
            what = self.translating()
        except ConnectoError as error:
            self.card.show_idle(str(error)[0].upper() + str(error)[1:] + ".")
            return
        if self.bar.elsewhere:
            self.card.show_idle(self.bar.waiting)
            return
        if self._automatic.again and not self.options.folder and not self.bar.foreign:
            self.bar.say(f"Resumes an earlier run in {what.out}")
        self.card.ask(lambda: estimate_job(what), self._repair, lambda: check_job(what))

    def _repair(self, error: BaseException | None) -> Fix | None:
        """A one-click fix for what prevents the run."""
        if isinstance(error, VoxelSizeError):
            return self.image.way_out()
        if error is None and any("of disk" in note for note in self.card.estimate.notes):
            return "Choose another folder…", self.options.choose_folder
        return None

    def _on_preview(self) -> None:
        self._begin(everything=False)

    def _on_run(self) -> None:
        if self.card.sure():
            self._begin(everything=True)

    def _begin(self, *, everything: bool) -> None:
        self.image.settle()
        image, full, peeked = self.image.layer, self.image.full, self.translator.peeked
        try:
            what = replace(self.translating(), check=self.card.check)
            if image is None or full is None or peeked is None:
                raise InputError("no image or translator is chosen; choose both")
            shown = view_box(self._viewer, image, full.levels[0], depth=0)
            view = full.levels[0].box_in(shown, what.volume.levels[0])
            view = view.clip(what.volume.levels[0].shape)
            if not everything and view.size == 0:
                raise InputError(f"the view does not touch '{image.name}'; press Home in the viewer, or press Run all")
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        same = self._running is not None and self._running.out == what.out and self.trust.alive
        self._fresh = not same
        self._running = Source(image, full.levels[0], what, complete=False)
        self._everything = everything
        n, region = self.trust.count.value(), None if everything else view
        first = None if view.size == 0 else view if everything else inner(view)
        self.bar.start(
            lambda: translating_job(what, n, region, first), resumable=everything, abandon=True, out=what.out
        )

    def _on_reported(self, _progress: Progress, _payloads: list[Any]) -> None:
        self._show_live()

    def _on_state(self, state: State) -> None:
        if state in (State.CANCELLED, State.FAILED) and self._show_live():
            self.segment.set_source(self._running)

    def _let_go(self, _change: Any = None) -> None:
        """Forget a translation whose image and EM-like layer were removed, and with it the image's voxels."""
        running = self._running
        if running is None or running.image in self._viewer.layers or self.trust.alive:
            return
        if any(bar.worker.state.busy for bar in (self.bar, self.segment.bar, self.disputed.bar)):
            return
        self._running = None
        self.trust.forget()
        self.segment.set_source(None)
        self.segment.bar.reset()
        self.disputed.forget()
        self.errors.forget()
        self._show_stage()

    def _show_live(self) -> bool:
        """Show what is translated so far; False if that is nothing, or the X-ray layer was removed."""
        running = self._running
        if running is None or (self._fresh and running.image not in self._viewer.layers):
            return False
        known = not self._fresh and self.trust.layers is not None and self.trust.layers.mean is not None
        volumes = None if known else live(running.out)
        if not known and volumes is None:
            return False
        if self._fresh:  # replace what was shown only when there is something new
            self._fresh = False
            self.trust.begin(running.image, running.finest, running.what.volume)
            self.segment.set_source(None)
            self.errors.forget()
            self._show_stage()
        self.trust.show_live(volumes)
        return True

    def _on_translated(self, made: Translated) -> None:
        if self._running is None or not self._show_live():
            return
        self.trust.finish(made, complete=self._everything)
        running = self._running
        self.bar.offer_report(running.out)
        self._running = replace(running, complete=self._everything)
        self.segment.set_source(self._running)
        if made.checked is not None:
            self.segment.show_checked(made.checked)
            if self._everything:
                self.errors.show_check(running.what, (running.image, running.finest), SEGMENTS)
        self.disputed.bar.forget()
        self.scroll_to(self.trust)

    def close_jobs(self) -> None:
        """Stop all jobs and release the keys."""
        super().close_jobs()
        self._viewer.layers.events.removed.disconnect(self._let_go)
        self.bar.close_jobs()
        for part in (self.image, self.translator, self.train, self.card, self.trust, self.segment, self.disputed):
            part.close_jobs()
