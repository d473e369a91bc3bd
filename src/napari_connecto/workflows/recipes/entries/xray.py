"""X-ray to EM: simulate-xray, pair, train-translator, adapt-translator, translate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.recipes.entries.run import (
    Backend,
    OnImage,
    Summary,
    backend_field,
    error_map_field,
    region_field,
    tile_field,
)
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from napari_connecto.workflows.xray.params import PairParams, XrayParams
from napari_connecto.workflows.xray.translate_params import AdaptParams, TranslateParams, TranslatorParams

EM = "EM of the same tissue: any readable volume."
NEW = "Folder of the result; a new one, or empty."


@dataclass(frozen=True, kw_only=True)
class SimulateXray(OnImage):
    """Simulate an X-ray volume of the tissue in the EM volume PATH; the result is marked as simulated."""

    workflow: ClassVar[str] = "simulate-xray"
    options: ClassVar[Mapping[str, str]] = {"params.voxel_nm": "xray_voxel_nm"}

    out: str = param(REQUIRED, NEW, role="out")
    like: VolumeSpec | None = param(
        None, "A real X-ray volume; its blur, noise and histogram are measured and applied.", role="image"
    )
    region: Box | None = region_field()
    params: XrayParams = param(XrayParams(), "The forward model.")

    def job(self, client: Any) -> Job[Summary]:
        """Simulate."""
        from napari_connecto.workflows.recipes.xray import simulate_xray

        return simulate_xray(self)


@dataclass(frozen=True, kw_only=True)
class Pair(OnImage):
    """Align the X-ray volume PATH with the volume EM of the same tissue, and report how well they fit."""

    workflow: ClassVar[str] = "pair"
    arguments: ClassVar[Sequence[str]] = ("volume", "em")
    options: ClassVar[Mapping[str, str]] = {"params.voxel_nm": "grid_nm"}

    em: VolumeSpec = param(REQUIRED, EM, role="image")
    out: str = param(REQUIRED, NEW, role="out")
    params: PairParams = param(PairParams(), "How they are aligned.")

    def job(self, client: Any) -> Job[Summary]:
        """Align."""
        from napari_connecto.workflows.recipes.xray import pair

        return pair(self)


@dataclass(frozen=True, kw_only=True)
class TrainTranslator(OnImage):
    """Train a translator from the X-ray volume PATH and the EM volume EM of the same tissue."""

    workflow: ClassVar[str] = "train-translator"
    trains: ClassVar[bool] = True
    arguments: ClassVar[Sequence[str]] = ("volume", "em")
    options: ClassVar[Mapping[str, str]] = {"pairing.voxel_nm": "grid_nm"}

    em: VolumeSpec = param(REQUIRED, EM, role="image")
    out: str = param(REQUIRED, "Folder of the result; an interrupted one is resumed.", role="out")
    membranes: str | None = param(
        None, "Boundary model for the EM: the translator also learns to find its membranes in the X-ray.", role="model"
    )
    teacher: str | None = param(
        None,
        "A translator of the same pair, whose answers one network learns: faster; accuracy has not been compared.",
        role="translator",
    )
    params: TranslatorParams = param(TranslatorParams(), "How it is trained.")
    pairing: PairParams = param(PairParams(), "How the pair is aligned.")

    def job(self, client: Any) -> Job[Summary]:
        """Align, then train."""
        from napari_connecto.workflows.recipes.translate import train_translator

        return train_translator(self)


@dataclass(frozen=True, kw_only=True)
class AdaptTranslator(OnImage):
    """Adapt a translator to the X-ray volume PATH, from the EM volume EM of a small part of it."""

    workflow: ClassVar[str] = "adapt-translator"
    trains: ClassVar[bool] = True
    arguments: ClassVar[Sequence[str]] = ("volume", "em")

    em: VolumeSpec = param(REQUIRED, EM, role="image")
    translator: str = param(REQUIRED, "The translator to adapt: a folder, or a shipped one's name.", role="translator")
    out: str = param(REQUIRED, NEW, role="out")
    params: AdaptParams = param(AdaptParams(), "How it is adapted.")

    def job(self, client: Any) -> Job[Summary]:
        """Align, fine-tune, recalibrate."""
        from napari_connecto.workflows.recipes.translate import adapt_translator

        return adapt_translator(self)


@dataclass(frozen=True, kw_only=True)
class Translate(OnImage):
    """Translate the X-ray volume PATH into an EM-like volume with its uncertainty."""

    workflow: ClassVar[str] = "translate"
    clustered: ClassVar[bool] = True

    translator: str = param(
        REQUIRED, "A translator's folder, or the name of a shipped one (see `models`).", role="translator"
    )
    region: Box | None = region_field()
    membranes: str | None = param(
        "auto",
        "Boundary model for EM that finds segments and uncertain membranes in the translation; auto: the one that "
        "suits the translator; none: neither is looked for.",
        role="model",
    )
    disagreement: bool = param(
        False, "Also segment every pass of the translator by itself, and report where they disagree. Slow."
    )
    error_map: bool = error_map_field(
        "Also write a map of where the membranes found in the translation are probably wrong, and the worst places, "
        "into OUT/segments/check; the boundary model needs a guard (see guard fit)."
    )
    backend: Backend = backend_field()
    tile: Vec3 | None = tile_field()
    params: TranslateParams = param(TranslateParams(), "How it is translated.")

    def job(self, client: Any) -> Job[Summary]:
        """Translate."""
        from napari_connecto.workflows.recipes.translate import translate

        return translate(self, client)
