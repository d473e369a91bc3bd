"""What type checkers see of `napari_connecto.jobs`."""

from napari_connecto.io.volumes.precomputed import save_precomputed_job as save_precomputed
from napari_connecto.io.volumes.write import save_volume_job as save_volume
from napari_connecto.reports.write import write_report_job as write_report
from napari_connecto.workflows.adapt.annotate.suggest import suggest_job as suggest
from napari_connecto.workflows.adapt.compare import compare_job as compare
from napari_connecto.workflows.adapt.fine_tune import fine_tune_job as fine_tune
from napari_connecto.workflows.adapt.rank import rank_domains_job as rank_domains
from napari_connecto.workflows.cascade.estimate import estimate_job as estimate
from napari_connecto.workflows.cascade.results.fields.plan import plan_fields_job as plan_fields
from napari_connecto.workflows.cascade.results.measure import measure_job as measure
from napari_connecto.workflows.cascade.results.regions import count_regions_job as count_regions
from napari_connecto.workflows.cascade.search.detect import detect_job as detect
from napari_connecto.workflows.cascade.training.train import train_cascade_job as train_cascade
from napari_connecto.workflows.inspect.guard.check import check_pair_job as check_pair
from napari_connecto.workflows.inspect.guard.fit import fit_guard_job as fit_guard

from napari_connecto.workflows.inspect.concepts.measure import concepts_job as concepts
from napari_connecto.workflows.inspect.probe import probe_job as probe
from napari_connecto.workflows.inspect.missed.attack import attack_job as attack
from napari_connecto.workflows.inspect.missed.why_missed import why_missed_job as why_missed
from napari_connecto.workflows.ood.check import gate_check_job as gate_check
from napari_connecto.workflows.inspect.prune.prune import prune_job as prune
from napari_connecto.workflows.segment.estimate import estimate_segment_job as estimate_segment
from napari_connecto.workflows.segment.predict import predict_job as predict
from napari_connecto.workflows.segment.segment import segment_job as segment
from napari_connecto.workflows.xray.check.check import check_translation_job as check_translation
from napari_connecto.workflows.xray.training.adapt import adapt_translator_job as adapt_translator
from napari_connecto.workflows.xray.membranes import membranes_job as membranes
from napari_connecto.workflows.xray.pair import pair_volumes_job as pair_volumes
from napari_connecto.workflows.xray.simulate import simulate_xray_job as simulate_xray
from napari_connecto.workflows.xray.training.train import train_translator_job as train_translator
from napari_connecto.workflows.xray.translate import translate_job as translate

__all__ = [
    "adapt_translator",
    "attack",
    "check_pair",
    "check_translation",
    "compare",
    "concepts",
    "count_regions",
    "detect",
    "estimate",
    "estimate_segment",
    "fine_tune",
    "fit_guard",
    "gate_check",
    "measure",
    "membranes",
    "pair_volumes",
    "plan_fields",
    "predict",
    "probe",
    "prune",
    "rank_domains",
    "save_precomputed",
    "save_volume",
    "segment",
    "simulate_xray",
    "suggest",
    "train_cascade",
    "train_translator",
    "translate",
    "why_missed",
    "write_report",
]
