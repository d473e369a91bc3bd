"""Find sparse objects, adapt models and translate modalities in big microscopy volumes.

The names below are loaded when first used: importing this package loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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
    "open_volume": "io.read",
    "save_volume": "io.write",
    "save_precomputed": "io.precomputed",
    "load_model": "models.files",
    "save_model": "models.files",
    "export_model": "workflows.export_model",
    "import_model": "workflows.import_model",
    "adabn": "models.adapt",
    "mmd2": "models.mmd",
    "mmd_test": "models.mmd",
    "Cascade": "workflows.cascade",
    "load_cascade": "workflows.cascade",
    "train_cascade": "workflows.train",
    "TrainParams": "workflows.params",
    "detect": "workflows.detect",
    "DetectParams": "workflows.params",
    "Detections": "workflows.detections",
    "estimate": "workflows.estimate",
    "predict": "workflows.predict",
    "Gate": "workflows.gate",
    "fit_gate": "workflows.gate",
    "judge_tiles": "workflows.gate",
    "gate_check": "workflows.gate_check",
    "load_gate": "workflows.gate_files",
    "save_gate": "workflows.gate_files",
    "segment": "workflows.segment",
    "SegmentParams": "workflows.adapt_params",
    "tune_segmentation": "workflows.tune",
    "suggest": "workflows.suggest",
    "Suggestion": "workflows.suggest",
    "SuggestParams": "workflows.adapt_params",
    "distance_matrix": "workflows.domain_map",
    "mantel": "workflows.domain_map",
    "train_translator": "workflows.train_translator",
    "TranslatorParams": "workflows.translate_params",
    "Translator": "workflows.translator",
    "load_translator": "workflows.translator",
    "translate": "workflows.translate",
    "TranslateParams": "workflows.translate_params",
    "calibration": "workflows.reliability",
    "worst_regions": "workflows.trust",
    "certain": "workflows.trust",
    "disputed_regions": "workflows.trust",
    "membranes": "workflows.membranes",
    "inverted": "core.invert",
    "estimate_segment": "workflows.estimate_segment",
    "kept_where": "workflows.on_grid",
    "list_cascades": "sample_data",
    "list_translators": "sample_data",
    "list_models": "sample_data",
    "rank_domains": "workflows.rank",
    "RankParams": "workflows.adapt_params",
    "fine_tune": "workflows.fine_tune",
    "FineTuneParams": "workflows.adapt_params",
    "compare": "workflows.compare",
    "Session": "workflows.session",
    "simulate_xray": "workflows.simulate",
    "XrayParams": "workflows.xray_params",
    "pair_volumes": "workflows.pair",
    "PairParams": "workflows.xray_params",
    "write_report": "reports.write",
    "phantom": "phantoms",
    "open_sample": "sample_data",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'napari_connecto' has no attribute '{name}'")
    return getattr(import_module(f"napari_connecto.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
