"""Step 1 of "Adapt to my data": choose the model to start from, ranked on the user's own image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.adapt.answers import answer_row
from napari_connecto.widgets.adapt.before import BeforeLabel
from napari_connecto.widgets.adapt.choosing.cards import ModelCards
from napari_connecto.widgets.adapt.choosing.told import Told, about_model
from napari_connecto.widgets.adapt.jobs import Source, rank_job
from napari_connecto.widgets.adapt.layers import patch_in_view
from napari_connecto.widgets.adapt.library import FOLDER, LibraryCombo
from napari_connecto.widgets.adapt.panels import Panels
from napari_connecto.widgets.adapt.prepare_jobs import Place, Preview, preview_job
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.ranks import RankTable
from napari_connecto.widgets.shared.boundary_models import peek_card, told_of
from napari_connecto.widgets.shared.commands import file_spec
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.plots import Tree
from napari_connecto.widgets.shared.report_button import ranking_job
from napari_connecto.workflows.adapt.params import RankParams
from napari_connecto.workflows.recipes.entries.adapt import Rank
from napari_connecto.workflows.recipes.words import command_line

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Ranking

SCRATCH = "From scratch"


class ChooseBox(QWidget):
    """Rank, preview, choose."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.panels: Panels | None = None
        self.ranking: Ranking | None
        self._ranked: Rank | None = None
        self.folders: dict[str, Path] = {}
        self.library, self.form = LibraryCombo(), ParamsForm(RankParams)
        self.bar = JobBar(
            "ranking", "Rank", "Segment a few places with every model, and rank the models by how well they agree"
        )
        self.preview = QPushButton("Preview top 3")
        self.preview.setToolTip("Boundary maps of the three best models on one patch in view, side by side")
        self.bar.add_button(self.preview)
        self.answers = QPushButton("Show segments")
        self.answers.setToolTip(
            "Segments of the best four models on one place, side by side; click again for the next place"
        )
        self.bar.add_button(self.answers)
        self._place = 0
        self.cards, self.table, self.tree = ModelCards(), RankTable(), Tree()
        self.verdict = text_line("Result of the ranking")
        self.evidence = text_line("What the order rests on")
        self.choice = QComboBox()
        self.choice.setToolTip("The model to start from")
        self.choice.setPlaceholderText("rank first, or choose one")
        self.before = BeforeLabel()
        self.about = text_line("The chosen model")
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the shell command that ranks the same way, without a screen")
        self._lay_out()
        self._connect()
        self._fill()
        self.library.use(None)

    @property
    def summary(self) -> str:
        """Summary for the heading."""
        source = self.project.source
        return "" if source is None else source.label

    def _lay_out(self) -> None:
        for combo in (self.library, self.choice):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(8)
        parts = self.library, self.form, self.before, self.copy
        tip = "Library, how the models are compared, and adapting without labels"
        options = Details(*parts, title="Options", tooltip=tip)
        tip = "All figures of the ranking, and how alike the training data are"
        self.details = Details(self.table, self.evidence, self.tree, self.about, tooltip=tip)
        choose = QFormLayout()
        choose.addRow("Start from", self.choice)
        self.layout_ = QVBoxLayout(self)
        self.layout_.setContentsMargins(2, 2, 2, 2)
        self.layout_.setSpacing(4)
        for widget in (self.cards, self.verdict, self.before.told):
            self.layout_.addWidget(widget)
        self.layout_.addLayout(choose)
        self.layout_.addWidget(options)
        self.layout_.addWidget(self.details)
        self._forget_ranking()

    def _connect(self) -> None:
        self.library.listed.connect(self._on_listed)
        self.library.failed.connect(self.bar.error.show_error)
        self.bar.clicked.connect(self._on_rank)
        self.bar.worker.returned.connect(self._on_returned)
        self.preview.clicked.connect(self.show_preview)
        self.answers.clicked.connect(self.show_answers)
        self.table.chosen.connect(self.choose)
        self.cards.chosen.connect(self.choose)
        self.choice.activated.connect(self._on_choice)
        self.before.changed.connect(lambda: self.choose(self.choice.currentText()))
        self.project.changed.connect(self._on_changed)
        self.project.image.layers.chosen.connect(self._on_other_image)
        self.project.image.changed.connect(self._list_models)
        self.copy.clicked.connect(lambda: self.bar.copy_command(lambda: command_line(self._rank())))

    def choose(self, name: str) -> None:
        """Start from the domain of this name, or from scratch."""
        folder = self.folders.get(name)
        if folder is None and name != SCRATCH:
            return
        self.bar.error.clear()
        self.choice.setCurrentText(name)
        self.table.mark(name)
        self.cards.mark(name)
        self.before.show_model(folder)
        try:
            self.about.setText(about_model(folder))
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.project.update(source=Source(name.lower() if folder is None else name, folder, *self.before.wanted()))

    def use_folder(self, folder: Path) -> None:
        """Start from the model in a folder."""
        try:
            card = peek_card(folder)
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        name = card.name if card.name not in self.folders else f"{card.name} ({folder.name})"
        self.folders[name] = folder
        self._fill()
        self.choose(name)

    def use_library(self, folder: Path | None) -> None:
        """List the domains of another library and rank them."""
        self.library.use(folder)

    def show_preview(self) -> None:
        """Show boundary maps of the three best models (or the first three of the library) side by side."""
        project, (adabn, playback) = self.project, self.before.wanted()
        try:
            box, sources = patch_in_view(project.canvas(chosen=True), project.volume()), self._best(3)
            place = Place(project.volume(), project.spec(), project.folder, project.library)
            if not sources:
                raise InputError("no model to preview; choose a library with domains")
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        played = project.source if playback else None
        abandon = not playback  # playback runs in a process, which must be killed
        self.bar.start(lambda: preview_job(place, box, sources, adabn, played), resumable=False, abandon=abandon)

    def show_answers(self) -> None:
        """Show the segments of the ranked models on one place; when called again, on the next."""
        if self.ranking is None or self.ranking.places is None:
            return
        self._on_previewed(Preview([answer_row(self.ranking, self._place)]))
        self.cards.show_place(self.ranking, self._place)
        self._place = (self._place + 1) % len(self.ranking.places.boxes)

    def close_jobs(self) -> None:
        """Stop ranking and previewing."""
        self.bar.close_jobs()
        self.library.close_jobs()

    def _best(self, n: int) -> list[Source]:
        ranked = [rank.name for rank in self.ranking.ranks if rank.compared] if self.ranking else []
        names = ranked or list(self.folders)
        return [Source(name, self.folders[name]) for name in names[:n] if name in self.folders]

    def _fill(self) -> None:
        before = self.choice.currentText()
        self.choice.clear()
        self.choice.addItems([*self.folders, FOLDER, SCRATCH])
        self.choice.setCurrentText(before if before in self.folders or before == SCRATCH else "")
        if self.project.source is None:
            self.choice.setCurrentIndex(-1)

    def _on_listed(self, folders: dict[str, Path]) -> None:
        self.project.library, self.folders = self.library.folder, folders
        self._forget_ranking()
        self._fill()
        if not folders:
            self.bar.error.show_error(InputError("the library holds no domain; choose another, or start from scratch"))

    def _on_choice(self, _index: int) -> None:
        text = self.choice.currentText()
        if text == FOLDER:
            folder = QFileDialog.getExistingDirectory(self, "Model folder (with card.json)")
            self.choice.setCurrentText(self.project.source.name if self.project.source is not None else "")
            if folder:
                self.use_folder(Path(folder))
        else:
            self.choose(text)

    def _on_rank(self) -> None:
        try:
            volume, params = self.project.volume(), self.form.value
            self._ranked = self._rank() if self.project.spec() is not None else None
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        library = self.project.library
        self.bar.start(lambda: rank_job(volume, library, params), resumable=False, abandon=True)

    def _on_returned(self, found: Any) -> None:
        """Both jobs share one bar; results for another image than the chosen one are not shown."""
        if self.bar.foreign:
            self.bar.reset()
            return
        (self._on_previewed if isinstance(found, Preview) else self._on_ranked)(found)

    def _on_ranked(self, ranking: Ranking) -> None:
        self.ranking = ranking
        self.cards.show_ranking(ranking)
        self.table.show_ranks(ranking.ranks, ranking.limit, self.folders)
        *_, evidence, verdict = ranking.lines()
        self.evidence.setText(evidence)
        self.verdict.setText(verdict)
        self.verdict.show()
        self.details.show()
        if ranking.map is not None:
            self.tree.show_map(ranking.map)
        self._place = 0
        self.answers.setVisible(bool(ranking.answers))
        self.choose((ranking.best or ranking.ranks[0]).name)
        asked, folder = self._ranked, self.project.folder / "ranking"  # what was asked: the layer may be gone
        self.bar.offer_report(lambda: ranking_job(ranking, asked, folder))

    def _forget_ranking(self) -> None:
        """Ranks are specific to an image and a library."""
        self.ranking = None
        self.answers.hide()
        self.verdict.hide()
        self.details.hide()
        self.tree.clear()
        self._list_models()

    def _list_models(self) -> None:
        """The library as cards, unless it is ranked."""
        if self.ranking is not None:
            return
        image = self.project.image.full
        self.cards.show_library({name: Told.of(folder, image) for name, folder in self.folders.items()})

    def _on_other_image(self) -> None:
        self._forget_ranking()
        self.before.say([])
        if self.panels is not None:
            self.panels.close()
        self.bar.reset()

    def _on_previewed(self, found: Preview) -> None:
        self.before.say(list(found.told))
        try:
            canvas = self.project.canvas(chosen=True)
            self.panels = self.panels or Panels(canvas)
            self.panels.close()
            self.panels.canvas = canvas
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.panels.show(found.rows)

    def _on_changed(self) -> None:
        """Messages about adapting the session's model appear where it was requested."""
        done = told_of(self.project.work.base) if self.project.work is not None else []
        if done:
            self.before.say(done)

    def _rank(self) -> Rank:
        """The ranking that the settings describe."""
        project = self.project
        volume = file_spec(project.volume().name, project.spec())
        library, out = project.library, project.folder / "ranking"
        params = self.form.value
        return Rank(volume=volume, library=str(library) if library else None, params=params, out=str(out))
