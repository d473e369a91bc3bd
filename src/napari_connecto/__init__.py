"""Find sparse objects, adapt models and translate modalities in big microscopy volumes.

The names below are loaded when first used: importing this package loads neither torch nor Qt. ``__init__.pyi`` beside
this file tells type checkers what they are.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from napari_connecto import jobs

try:
    __version__ = version("napari-connecto")
except PackageNotFoundError:  # running from an uninstalled checkout
    __version__ = "0+unknown"

_HOMES = {
    "Box": "core.geometry",
    "Level": "core.volume",
    "Volume": "core.volume",
    "TilePlan": "core.tiles",
    "ModelCard": "core.model",
    "ConnectoError": "core.errors",
    "Progress": "core.jobs",
    "run": "core.jobs",
    "expected_cascade": "core.rates",
    "simulate_cascade": "core.rates",
    "variation_of_information": "core.partition_metrics",
    "adapted_rand_error": "core.partition_metrics",
    "open_volume": "io.volumes.read",
    "save_volume": "io.volumes.write",
    "save_precomputed": "io.volumes.precomputed",
    "load_model": "models.files",
    "save_model": "models.files",
    "Detector": "models.detectors.protocol",
    "detector": "workflows.packages.detectors",
    "export_model": "workflows.packages.export_model",
    "import_model": "workflows.packages.import_model",
    "adabn": "models.transfer.adabn",
    "mmd2": "models.transfer.mmd",
    "mmd_test": "models.transfer.mmd",
    "Cascade": "workflows.cascade.cascade",
    "load_cascade": "workflows.cascade.cascade",
    "train_cascade": "workflows.cascade.training.train",
    "TrainParams": "workflows.cascade.params",
    "detect": "workflows.cascade.search.detect",
    "DetectParams": "workflows.cascade.params",
    "Detections": "workflows.cascade.detections",
    "Verdicts": "workflows.cascade.verdicts",
    "read_verdicts": "workflows.cascade.verdicts",
    "write_verdicts": "workflows.cascade.verdicts",
    "merge_verdicts": "workflows.cascade.merging",
    "estimate": "workflows.cascade.estimate",
    "measure": "workflows.cascade.results.measure",
    "MeasureParams": "workflows.cascade.results.params",
    "count_regions": "workflows.cascade.results.regions",
    "RegionCounts": "workflows.cascade.results.regions",
    "RegionParams": "workflows.cascade.results.params",
    "plan_fields": "workflows.cascade.results.fields.plan",
    "Fields": "workflows.cascade.results.fields.result",
    "FieldParams": "workflows.cascade.results.params",
    "predict": "workflows.segment.predict",
    "lazy": "workflows.segment.lazy",
    "Gate": "workflows.ood.gate",
    "fit_gate": "workflows.ood.gate",
    "judge_tiles": "workflows.ood.gate",
    "gate_check": "workflows.ood.check",
    "load_gate": "workflows.ood.files",
    "save_gate": "workflows.ood.files",
    "Guard": "workflows.inspect.guard.guard",
    "GuardParams": "workflows.inspect.guard.params",
    "CheckParams": "workflows.inspect.guard.params",
    "PairCheck": "workflows.inspect.guard.check",
    "fit_guard": "workflows.inspect.guard.fit",
    "load_guard": "workflows.inspect.guard.guard",
    "check_pair": "workflows.inspect.guard.check",
    "segment": "workflows.segment.segment",
    "load_volumetric": "workflows.segment.volumetric",
    "SegmentParams": "workflows.segment.params",
    "tune_segmentation": "workflows.segment.tune",
    "suggest": "workflows.adapt.annotate.suggest",
    "Suggestion": "workflows.adapt.annotate.suggest",
    "SuggestParams": "workflows.adapt.params",
    "distance_matrix": "workflows.adapt.domain_map",
    "mantel": "workflows.adapt.domain_map",
    "train_translator": "workflows.xray.training.train",
    "adapt_translator": "workflows.xray.training.adapt",
    "AdaptParams": "workflows.xray.translate_params",
    "TranslatorParams": "workflows.xray.translate_params",
    "Translator": "workflows.xray.translator",
    "load_translator": "workflows.xray.translator",
    "translate": "workflows.xray.translate",
    "TranslateParams": "workflows.xray.translate_params",
    "calibration": "workflows.xray.reliability",
    "worst_regions": "workflows.xray.trust",
    "certain": "workflows.xray.trust",
    "disputed_regions": "workflows.xray.trust",
    "membranes": "workflows.xray.membranes",
    "check_translation": "workflows.xray.check.check",
    "inverted": "core.views.invert",
    "estimate_segment": "workflows.segment.estimate",
    "kept_where": "workflows.shared.on_grid",
    "list_cascades": "sample_data",
    "list_translators": "sample_data",
    "list_models": "sample_data",
    "add_model": "workflows.packages.add_model",
    "rank_domains": "workflows.adapt.rank",
    "RankParams": "workflows.adapt.params",
    "fine_tune": "workflows.adapt.fine_tune",
    "FineTuneParams": "workflows.adapt.params",
    "compare": "workflows.adapt.compare",
    "Session": "workflows.adapt.annotate.session",
    "simulate_xray": "workflows.xray.simulate",
    "XrayParams": "workflows.xray.params",
    "pair_volumes": "workflows.xray.pair",
    "PairParams": "workflows.xray.params",
    "concepts": "workflows.inspect.concepts.measure",
    "Concepts": "workflows.inspect.concepts.result",
    "ConceptParams": "workflows.inspect.concepts.params",
    "probe": "workflows.inspect.probe",
    "ProbeParams": "workflows.inspect.concepts.params",
    "attack": "workflows.inspect.missed.attack",
    "Attack": "workflows.inspect.missed.attacked",
    "AttackParams": "workflows.inspect.missed.params",
    "why_missed": "workflows.inspect.missed.why_missed",
    "WhyMissed": "workflows.inspect.missed.result",
    "MissedParams": "workflows.inspect.missed.params",
    "write_report": "reports.write",
    "prune": "workflows.inspect.prune.prune",
    "PruneParams": "workflows.inspect.prune.params",
    "Pruned": "workflows.inspect.prune.result",
    "phantom": "phantoms",
    "open_sample": "sample_data",
}

__all__ = ["__version__", "jobs", "theory", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "theory":
        return import_module("napari_connecto.theory")
    if name not in _HOMES:
        raise AttributeError(f"module 'napari_connecto' has no attribute '{name}'")
    return getattr(import_module(f"napari_connecto.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
