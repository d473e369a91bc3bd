"""Jobs of the dock "X-ray to EM": each is one workflow call off the GUI thread; no Qt, no napari.

The workflows (and torch) are imported inside the jobs, so that opening the dock loads neither.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.sample_data import TRANSLATOR
from napari_connecto.widgets.shared.boundary_models import guard_for
from napari_connecto.widgets.shared.boundary_models import load as load_segmenter
from napari_connecto.widgets.shared.task import Task, until_changed
from napari_connecto.widgets.viewer.mesa import load_triton_apart, torch_job
from napari_connecto.widgets.xray.boxes import translated
from napari_connecto.widgets.xray.check_jobs import SEGMENTS, Checked, Listed, checked_params, checking_job, listing_job
from napari_connecto.workflows.recipes.entries.xray import Translate
from napari_connecto.workflows.xray.translate_params import TranslateParams

if TYPE_CHECKING:
    from napari_connecto.workflows.ood.check import OodCheck
    from napari_connecto.workflows.xray.estimate import TranslateEstimate
    from napari_connecto.workflows.xray.translate import Translation
    from napari_connecto.workflows.xray.translator import Translator

WAIT_S = 0.1
CHECKING = "finding uncertain membranes"
EXAMPLE = "example.npz"
VIEW = f"{SEGMENTS}-view"
"""Folder of the segments of a preview, in that of its translation."""
PARTS = ("mean", "aleatoric", "epistemic")
BACKEND: Literal["torch"] = "torch"
_TURN = threading.Lock()
"""Held by the running translation: a cancelled one finishes its current tiles before the next begins."""


@dataclass(frozen=True)
class Translating(Task[TranslateParams]):
    """A translation of an X-ray volume by the translator ``model``, checked with the boundary model ``boundary``.

    ``named`` is how a run names that model: "auto", a folder, or "none".
    """

    boundary: Path | None = None
    named: str = "none"

    def run(self) -> Translate:
        """The equivalent run of the shell and of recipes."""
        how: dict[str, Any] = {"params": self.params, "backend": BACKEND, "membranes": self.named}
        how["error_map"] = self.error_map
        return Translate(volume=self.file, translator=str(self.model), out=str(self.out), **how)


class Translated(NamedTuple):
    """A translation, its summary in words, uncertain places, the range of its standard deviations, and its check."""

    found: Translation
    lines: list[str]
    listed: Listed
    span: tuple[float, float] | None
    checked: Checked | None = None


@until_changed(TRANSLATOR)
def load(folder: Path) -> Translator:
    """A translator, cached until its file changes."""
    load_triton_apart()
    from napari_connecto.workflows.xray.translator import load_translator

    return load_translator(folder, backend=BACKEND)


def list_job() -> Job[dict[str, Path]]:
    """The shipped translators: folder by name."""
    from napari_connecto.sample_data import list_translators

    yield Progress(0, 0, "listing translators")
    return list_translators()


def estimate_job(what: Translating, region: Box | None = None) -> Job[TranslateEstimate]:
    """Cost of the translation, and of the check after it; two real tiles of each are timed.

    The payload is the cost of the translation alone, which is known first.
    """
    yield from torch_job()
    from napari_connecto.workflows.xray.check.estimate import with_check_job
    from napari_connecto.workflows.xray.estimate import estimate_translate_job

    yield Progress(0, 0, "timing two tiles")
    translator = load(what.model)
    yield Progress(0, 0, "timing two tiles")
    cost = yield from estimate_translate_job(what.volume, translator, what.params, region=region, out=what.out)
    if what.boundary is None:
        return cost
    yield Progress(0, 0, "timing two tiles of the check", payload=cost)
    segmenter, params = load_segmenter(what.boundary), checked_params(what.boundary)
    return (yield from with_check_job(cost, what.volume, translator, segmenter, params, out=what.out))


def check_job(what: Translating) -> Job[OodCheck]:
    """Out-of-distribution check of the volume for the translator."""
    yield from torch_job()
    from napari_connecto.workflows.ood.check import BEFORE_BYTES, gate_check_job

    translator = load(what.model)
    return (
        yield from gate_check_job(
            what.volume, translator.members[0], translator.gate, name=translator.name, most_bytes=BEFORE_BYTES
        )
    )


def translating_job(what: Translating, n: int, region: Box | None = None, first: Box | None = None) -> Job[Translated]:
    """Translate here or on a cluster, find the ``n`` most uncertain regions, write the recipe to the result folder.

    With a ``region``, a preview, there is no out-of-distribution check, so that the first tile comes soon.
    A forward pass takes seconds and cannot be interrupted: cancelling does not wait for it, but the next job does.
    """
    while not _TURN.acquire(timeout=WAIT_S):
        yield Progress(0, 0, "finishing current tiles")
    try:
        return (yield from _translating(what, n, region, first))
    finally:
        _TURN.release()


def _translating(what: Translating, n: int, region: Box | None, first: Box | None) -> Job[Translated]:
    yield from torch_job()
    yield Progress(0, 0, "loading the translator")
    from napari_connecto.workflows.ood.check import OodCheck
    from napari_connecto.workflows.xray.translate import translate_job
    from napari_connecto.workflows.xray.trust import sd_span

    translator = load(what.model)
    phases = Phases({"translating": 1, CHECKING: 2 if what.boundary else 0.01})  # measured: 42 and 90 s
    check = what.check
    if check is None and region is not None:
        check = OodCheck(translator.name, reason="only a part was translated")
    how: dict[str, Any] = {"out": what.out, "region": region, "first": first, "gate": check}
    running = what.job(lambda client: translate_job(what.volume, translator, what.params, client=client, **how))
    found = yield from phases.run("translating", running)
    what.keep_recipe()
    span = sd_span(found.aleatoric, found.epistemic)
    part = None if region is None else _part(found, what.volume, region)
    if what.boundary is None or (part is not None and part.size == 0):
        parts = {name: getattr(found, name) for name in PARTS}
        listed = yield from phases.run(CHECKING, listing_job(None, parts, what.volume, n))
        return Translated(found, found.lines(), listed, span)
    out = what.out / SEGMENTS if part is None else unused(what.out / VIEW)
    guard = guard_for(what.error_map and part is None, what.boundary)
    made = yield from phases.run(CHECKING, checking_job(found, what.volume, what.boundary, out, n, part, guard))
    _forget_views(what.out, out)
    return Translated(found, [*found.lines(), *made.found.lines()[:1]], made.listed, span, made)


def _forget_views(folder: Path, kept: Path) -> None:
    """Remove the segments of earlier previews, in place of which the viewer shows those in ``kept`` now."""
    for view in folder.glob(f"{VIEW}*"):
        if view != kept:
            shutil.rmtree(view, ignore_errors=True)


def _part(found: Translation, volume: Volume, region: Box) -> Box:
    """The translated part of a region, in voxels of the mean."""
    level = found.mean.levels[0]
    box = volume.levels[0].box_in(region, level).clip(level.shape)
    return translated(box, found.aleatoric.levels[0], found.epistemic.levels[0])


def unused(folder: Path) -> Path:
    """The first of ``folder``, ``folder-2``, ``folder-3`` ... that does not exist."""
    names = (folder if n == 1 else folder.with_name(f"{folder.name}-{n}") for n in count(1))
    return next(path for path in names if not path.exists())


def live(out: Path) -> dict[str, Volume] | None:
    """The images of a running translation by name; zarr arrays, None before a tile is finished."""
    from napari_connecto.io.disk import is_folder
    from napari_connecto.io.stores.tile_store import TileStore
    from napari_connecto.io.volumes.read import open_volume

    folders = {name: out / f"{name}.zarr" for name in PARTS}
    if not all(is_folder(folder) for folder in folders.values()) or not TileStore.holds_tiles(out):
        return None
    return {name: open_volume(folder) for name, folder in folders.items()}


@dataclass(frozen=True)
class TranslatorAbout:
    """Description of a translator in a folder, read without loading torch."""

    name: str
    voxel_nm: FVec3
    members: int
    about: Mapping[str, Any]

    @property
    def simulated(self) -> bool:
        """Whether it was trained on simulated X-ray only."""
        return bool(self.about.get("simulated"))

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """Calibration on the held-out block: ``coverage``, ``removed``, ``by_sd``, ``by_error``."""
        metrics = self.about.get("metrics") or {}
        found: Mapping[str, Any] | None = metrics.get("calibration")
        return found

    @property
    def line(self) -> str:
        """The description in words."""
        voxel, members = " × ".join(f"{v:g}" for v in self.voxel_nm), self.members
        count = "one network" if members == 1 else f"{members} networks"
        return f"Output voxels {voxel} nm; {count}, trained on {self._pair}."

    @property
    def _pair(self) -> str:
        return f"'{self.about.get('xray', '?')}' and '{self.about.get('em', '?')}'"

    def figures(self) -> str:
        """Its figures on the held-out block of its pair; "" if not measured."""
        metrics = self.about.get("metrics") or {}
        if not metrics:
            return ""
        now, before, kept = metrics["translated"], metrics["interpolated"], metrics["calibration"]
        return (
            f"In training, on a held-out block of {self._pair}: PSNR {now['psnr']:.1f} dB "
            f"(interpolated X-ray {before['psnr']:.1f}), "
            f"SSIM {now['ssim']:.2f} ({before['ssim']:.2f}); 90 % intervals cover {percent(kept['coverage']['0.9'])}; "
            f"rank correlation of error and sd {kept['spearman']:.2f}."
        )


def example(folder: Path) -> np.ndarray | None:
    """Before and after (2, y, x) uint8 of tissue that the translator was not trained on; None if there is none."""
    try:
        with np.load(folder / EXAMPLE, allow_pickle=False) as file:
            crops = np.stack([file["before"], file["after"]]).astype(np.uint8)
    except (OSError, ValueError, KeyError):
        return None
    return crops if crops.ndim == 3 else None


def peek(folder: Path) -> TranslatorAbout:
    """Read a translator's description.

    Parameters
    ----------
    folder
        Folder of the translator, or of what train-translator wrote.

    Raises
    ------
    ModelError
        If the folder holds no translator that can be read.
    """
    try:
        document = json.loads((folder / TRANSLATOR).read_text(encoding="utf-8"))
        card = ModelCard.from_json(json.loads((folder / "member_0" / "card.json").read_text(encoding="utf-8")))
        return TranslatorAbout(str(document["name"]), card.voxel_nm, int(document["members"]), dict(document["about"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"'{folder}' is not a translator; choose a folder with {TRANSLATOR}, made by training"
        ) from error
