"""The dock "Cascade detection": find sparse objects in a pyramid, with a cost estimate before and an audit after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QPushButton, QTabBar, QWidget

from napari_connecto.core.errors import ConnectoError, InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.cascade.find.box import FinderBox
from napari_connecto.widgets.cascade.find.funnel_plot import SearchPicture
from napari_connecto.widgets.cascade.find.gates import GatesBox
from napari_connecto.widgets.cascade.jobs import Backend, Searching, Training, check_job, estimate_job, search_job
from napari_connecto.widgets.cascade.learn import training_from
from napari_connecto.widgets.cascade.live import live_button
from napari_connecto.widgets.cascade.results import Begun, ResultBox
from napari_connecto.widgets.cascade.setup import CascadeBox
from napari_connecto.widgets.cascade.training.train import PREVIOUS, TrainBox
from napari_connecto.widgets.cascade.using.box import UseBox
from napari_connecto.widgets.cascade.using.jobs import Used
from napari_connecto.widgets.shared.error_map import OF_SEARCH, ErrorMapBox
from napari_connecto.widgets.shared.estimate_card import Fix, PreflightCard
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.options import OptionsFold
from napari_connecto.widgets.shared.settings import AutomaticFolder, output_folder
from napari_connecto.widgets.viewer.view import inner, view_box
from napari_connecto.widgets.viewer.volumes import identity, lasting
from napari_connecto.workflows.cascade.params import DetectParams

if TYPE_CHECKING:
    import napari

    from napari_connecto.workflows.cascade.detections import Detections

TABS = (("Find", "Find objects with a detector"), ("Train", "Train a detector on your own labels"))
Planned = tuple[Searching, Box | None, Box | None]
LONG_S = 120
"""Seconds above which converting the models first pays off (OpenVINO, if installed)."""


class CascadeWidget(Dock):
    """Choose an image and a cascade, estimate the cost, preview, run, cancel, resume, review, export, use."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._automatic = AutomaticFolder()
        self._running: Searching | None = None
        self.image = InputBox(napari_viewer)
        self.cascade = CascadeBox()
        self.options = OptionsFold(DetectParams)
        self.tabs, self.picture = QTabBar(), SearchPicture()
        self.card = PreflightCard(picture=self.picture)
        told = "Search the whole image, starting in view. Press again to cancel"
        self.bar = JobBar("cascade", "Run all", told, primary=True)
        self.preview = QPushButton("Preview in view")
        self.live = live_button(self)
        self.errors = ErrorMapBox(napari_viewer, OF_SEARCH)
        self.results = ResultBox(napari_viewer, self._learning)
        self.finder = FinderBox(napari_viewer, self.image, self.cascade, output_folder)
        self.gates = GatesBox(self.image, self.finder, output_folder)
        self.use = UseBox(napari_viewer, self._used)
        self._finished: Path | None = None
        self.train = TrainBox(napari_viewer, self.image, output_folder)
        self._lay_out()
        self._connect()
        for part in (self.finder, self.gates, self.train, self.train.foot, self.results):
            part.hide()
        self.cascade.list_own(output_folder())
        self.image.layers.chosen.emit()

    def _lay_out(self) -> None:
        self.preview.setToolTip("Search only what is on screen, without an audit; Run all then continues from there")
        self.bar.add_button(self.preview)
        for n, (name, tooltip) in enumerate(TABS):
            self.tabs.addTab(name)
            self.tabs.setTabToolTip(n, tooltip)
        self.tabs.setExpanding(True)
        choice = (self.image, self.tabs, self.cascade, self.finder, self.train)
        column = [*choice, self.options, self.card, self.errors, self.results, self.gates, self.use]
        self.lay_out(column, footer=[self.bar, self.train.foot])
        self.follow(self._viewer, self.image)

    def _connect(self) -> None:
        self.tabs.currentChanged.connect(lambda tab: self.cascade.choose_training(tab == 1))
        self.cascade.changed.connect(self._on_cascade_changed)
        self.picture.bound_asked.connect(lambda bound: self.options.form.change(audit_bound=bound))
        for signal in (self.image.changed, self.options.changed):
            signal.connect(self._on_inputs_changed)
        self.image.layers.chosen.connect(self.bar.reset)
        self.options.copy.clicked.connect(lambda: self.bar.copy_command(self.command))
        self.card.blocked.connect(self.bar.block)
        self.preview.clicked.connect(self._on_preview)
        self.bar.clicked.connect(self._on_run)
        self.bar.worker.reported.connect(self._on_reported)
        self.bar.ended.connect(self._on_inputs_changed)
        self.bar.worker.returned.connect(self._on_found)
        for box in (self.train, self.gates):
            box.trained.connect(self.cascade.use)
            box.rejected.connect(self.cascade.offer)
        self.results.training_made.connect(self._on_training_made)
        self.results.learn.trained.connect(self.cascade.offer)
        self.results.learn.again.connect(self._on_again)
        self.results.table.docked.connect(lambda _: self.scroll_to(self.results))
        self.use.measured.connect(self._on_measured)

    def search(self) -> Searching:
        """The search as set in the dock.

        Raises
        ------
        InputError
            If a choice is missing, or a parameter is out of range.
        """
        volume, folder = self.image.need_volume(), self.cascade.folder
        if folder is None:
            raise InputError(self.finder.waiting or "no cascade is chosen; choose one, or train one")
        question = identity(volume), folder
        mark = lasting(volume, folder)
        out = self.options.folder or self._automatic.of(question, volume.name, folder.name, output_folder(), mark)
        spec, finder = self.image.spec(volume), self.finder.finder()
        how: dict[str, Any] = {"finder": finder, "error_map": self.errors.wanted}
        return Searching(volume, spec, folder, self.options.form.value, out, self.options.run_on.value, **how)

    def command(self) -> str:
        """The equivalent shell command."""
        return self.search().command

    def _on_cascade_changed(self) -> None:
        peeked, training = self.cascade.peeked, self.cascade.training
        self.tabs.setCurrentIndex(int(training))
        self.finder.on_chosen()
        self.gates.show_for(self.cascade.other, self.cascade.folder)
        self.errors.suit(None if self.cascade.folder is None else self.cascade.folder / "level_0")
        self._show_tab()
        self.image.allow_pixels(bool(self.cascade.other) and not training)
        if training:
            self.image.set_model(None)
            return
        setting_up = self.cascade.other and not peeked
        if not (setting_up or self.cascade.choosing):  # these keep the level
            self.image.set_model(peeked.voxel_nm if peeked else None)
        self._on_inputs_changed()

    def _show_tab(self) -> None:
        """Show what belongs to the tab, as far as there is anything in it."""
        training = self.cascade.training
        finding: tuple[QWidget, ...] = (self.cascade, self.options, self.card, self.errors, self.bar)
        learning: tuple[QWidget, ...] = (self.train, self.train.foot)
        for part in (*finding, *learning):
            part.setVisible((part in learning) == training)
        self.results.setVisible(self.results.begun is not None and not training)
        self.use.setVisible(self._finished is not None and not training)
        self.finder.setVisible(bool(self.cascade.other) and not training)
        self.gates.setVisible(self.gates.wanted and not training)

    def _on_inputs_changed(self) -> None:
        self.cascade.show_fit(self.image.full)
        if self.cascade.training:
            return
        self.bar.forget()
        if self.cascade.choosing:
            self.card.show_idle("Choosing a detector that fits the image…")
            return
        try:
            search = self.search()
        except ConnectoError as error:
            self.card.show_idle(str(error)[0].upper() + str(error)[1:] + ".")
            return
        if self.bar.elsewhere:
            self.card.show_idle(self.bar.waiting)
            return
        if self._automatic.again and not self.options.folder and not self.bar.foreign:
            self.bar.say(f"Resumes an earlier run in {search.out}")
        self.card.ask(lambda: estimate_job(search), self._repair, lambda: check_job(search))

    def _repair(self, error: BaseException | None) -> Fix | None:
        """A one-click fix for what prevents the run."""
        if isinstance(error, VoxelSizeError):
            return self.image.way_out()
        notes = self.card.estimate.notes[:1] if error is None and self.card.estimate is not None else ()
        if any("memory" in note for note in notes):
            form = self.options.form
            return None if form.get("batch") == 1 else ("Use a batch of 1", lambda: form.change(batch=1))
        return ("Choose another folder…", self.options.choose_folder) if notes else None

    def _on_preview(self) -> None:
        def plan(search: Searching, view: Box) -> Planned:
            """No audit, check or error map; tile by tile from the middle, for a first result soon."""
            params = replace(search.params, audit=0, ood_check="off", batch=search.params.batch or 1)
            return replace(search, params=params, error_map=False), view, inner(view)

        self._begin(plan, False)

    def _on_run(self) -> None:
        if not self.card.sure():
            return
        long = self.card.estimate is not None and self.card.estimate.seconds > LONG_S
        backend: Backend = "auto" if long else "torch"
        self._begin(lambda search, view: (replace(search, backend=backend), None, view if view.size else None), True)

    def _begin(self, plan: Callable[[Searching, Box], Planned], resumable: bool) -> None:
        self.image.settle()
        image, full, peeked = self.image.layer, self.image.full, self.cascade.peeked
        try:
            search = replace(self.search(), check=self.card.check)
            if image is None or full is None or peeked is None:
                raise InputError("no image or cascade is chosen; choose both")
            depth = peeked.diameter_nm / full.levels[0].voxel_nm[0]  # objects cut by the displayed section are whole
            shown = view_box(self._viewer, image, full.levels[0], depth=depth)
            view = full.levels[0].box_in(shown, search.volume.levels[0]).clip(search.volume.levels[0].shape)
            search, region, first = plan(search, view)
            if region is not None and region.size == 0:
                raise InputError(f"the view does not touch '{image.name}'; press Home in the viewer, or press Run all")
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._running, self._finished = search, None
        self.results.begin(Begun(image, full, search.model, peeked, search.out))
        self.cascade.cards.hide()
        self.errors.forget()
        self.bar.start(lambda: search_job(search, region, first), resumable=resumable, out=search.out)

    def _on_reported(self, progress: Progress, payloads: list[Any]) -> None:
        self.results.add(payloads)
        self._show_tab()
        self.picture.show_progress(progress)
        if self._running is not None and self.cascade.peeked is not None and self.cascade.peeked.head == "masks":
            self.results.show_map(self._running.out)

    def _on_found(self, found: Detections) -> None:
        from napari_connecto.workflows.cascade.report import report_lines  # already loaded by the search

        self.results.finish(found, report_lines(found.report))
        self.picture.show_report(found.report)
        self.card.fold()
        running, begun = self._running, self.results.begun
        if running is not None:
            self.bar.offer_report(running.out)
            self.errors.show_check(running, None if begun is None else (begun.image, begun.level))
        self._finished = running.out if running is not None and len(found) else None
        if self._finished is not None:
            self.use.begin(found)
        self._show_tab()

    def _learning(self) -> Training:
        """The training that the review asks for, see `training_from`."""
        begun, review = self.results.begun, self.results.review
        if begun is None or review is None:
            raise InputError("there is nothing to learn from yet; search first")
        return training_from(begun, review, self.train.form.value, output_folder())

    def _on_again(self, folder: Path) -> None:
        """Search with a cascade that was learnt from the review, into a folder of its own."""
        self.options.out.clear()
        self.cascade.use(folder)
        self._on_run()
        self.results.carry_over()

    def _used(self) -> Used:
        """The search that is shown, for what is done with it.

        Raises
        ------
        InputError
            If it has not ended, or found nothing.
        """
        review, begun = self.results.review, self.results.begun
        if review is None or begun is None or self._finished != begun.folder:
            raise InputError("there is no finished search; press Run all, or Preview in view, and wait until it ends")
        return Used(review.detections, begun.volume, begun.folder, review.threshold, begun.image, begun.level)

    def _on_measured(self, used: Used, measured: Detections) -> None:
        """Keep measurements with the detections that are shown, if these are still those that were measured."""
        if self._finished == used.folder:
            self.results.take_measures(measured)

    def _on_training_made(self, layer: Any) -> None:
        peeked = self.cascade.peeked
        if peeked is not None:
            self.train.form.change(name=peeked.name, head=peeked.head, diameter_nm=float(round(peeked.diameter_nm)))
        if self._running is not None:
            layer.metadata[PREVIOUS] = self._running.model
        self.cascade.choose_training()
        self.train.labels.refresh()
        self.train.labels.setCurrentText(layer.name)

    def close_jobs(self) -> None:
        """Stop all jobs and release the keys."""
        super().close_jobs()
        chosen = (self.image, self.cascade, self.finder, self.train)
        for part in (*chosen, self.gates.bar, self.card, self.results, self.use, self.bar):
            part.close_jobs()
