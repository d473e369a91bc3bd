"""What type checkers see of the package: every public name, where it is defined."""

from napari_connecto import jobs as jobs, theory as theory
from napari_connecto.core.errors import ConnectoError as ConnectoError
from napari_connecto.core.geometry import Box as Box
from napari_connecto.core.jobs import Progress as Progress, run as run
from napari_connecto.core.model import ModelCard as ModelCard
from napari_connecto.core.partition_metrics import (
    adapted_rand_error as adapted_rand_error,
    variation_of_information as variation_of_information,
)
from napari_connecto.core.rates import expected_cascade as expected_cascade, simulate_cascade as simulate_cascade
from napari_connecto.core.tiles import TilePlan as TilePlan
from napari_connecto.core.views.invert import inverted as inverted
from napari_connecto.core.volume import Level as Level, Volume as Volume
from napari_connecto.io.volumes.precomputed import save_precomputed as save_precomputed
from napari_connecto.io.volumes.read import open_volume as open_volume
from napari_connecto.io.volumes.write import save_volume as save_volume
from napari_connecto.models.detectors.protocol import Detector as Detector
from napari_connecto.models.files import load_model as load_model, save_model as save_model
from napari_connecto.models.transfer.adabn import adabn as adabn
from napari_connecto.models.transfer.mmd import mmd2 as mmd2, mmd_test as mmd_test
from napari_connecto.phantoms import phantom as phantom
from napari_connecto.reports.write import write_report as write_report
from napari_connecto.sample_data import (
    list_cascades as list_cascades,
    list_models as list_models,
    list_translators as list_translators,
    open_sample as open_sample,
)
from napari_connecto.workflows.adapt.annotate.session import Session as Session
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion as Suggestion, suggest as suggest
from napari_connecto.workflows.adapt.compare import compare as compare
from napari_connecto.workflows.adapt.domain_map import distance_matrix as distance_matrix, mantel as mantel
from napari_connecto.workflows.adapt.fine_tune import fine_tune as fine_tune
from napari_connecto.workflows.adapt.params import (
    FineTuneParams as FineTuneParams,
    RankParams as RankParams,
    SuggestParams as SuggestParams,
)
from napari_connecto.workflows.adapt.rank import rank_domains as rank_domains
from napari_connecto.workflows.cascade.cascade import Cascade as Cascade, load_cascade as load_cascade
from napari_connecto.workflows.cascade.detections import Detections as Detections
from napari_connecto.workflows.cascade.estimate import estimate as estimate
from napari_connecto.workflows.cascade.merging import merge_verdicts as merge_verdicts
from napari_connecto.workflows.cascade.params import DetectParams as DetectParams, TrainParams as TrainParams
from napari_connecto.workflows.cascade.results.fields.plan import plan_fields as plan_fields
from napari_connecto.workflows.cascade.results.fields.result import Fields as Fields
from napari_connecto.workflows.cascade.results.measure import measure as measure
from napari_connecto.workflows.cascade.results.params import (
    FieldParams as FieldParams,
    MeasureParams as MeasureParams,
    RegionParams as RegionParams,
)
from napari_connecto.workflows.cascade.results.regions import (
    RegionCounts as RegionCounts,
    count_regions as count_regions,
)
from napari_connecto.workflows.cascade.search.detect import detect as detect
from napari_connecto.workflows.cascade.training.train import train_cascade as train_cascade
from napari_connecto.workflows.cascade.verdicts import (
    Verdicts as Verdicts,
    read_verdicts as read_verdicts,
    write_verdicts as write_verdicts,
)
from napari_connecto.workflows.inspect.guard.check import PairCheck as PairCheck, check_pair as check_pair
from napari_connecto.workflows.inspect.guard.fit import fit_guard as fit_guard
from napari_connecto.workflows.inspect.guard.guard import Guard as Guard, load_guard as load_guard
from napari_connecto.workflows.inspect.guard.params import CheckParams as CheckParams, GuardParams as GuardParams

from napari_connecto.workflows.inspect.concepts.measure import concepts as concepts
from napari_connecto.workflows.inspect.concepts.params import ConceptParams as ConceptParams
from napari_connecto.workflows.inspect.concepts.params import ProbeParams as ProbeParams
from napari_connecto.workflows.inspect.concepts.result import Concepts as Concepts
from napari_connecto.workflows.inspect.missed.attack import attack as attack
from napari_connecto.workflows.inspect.missed.attacked import Attack as Attack
from napari_connecto.workflows.inspect.missed.params import AttackParams as AttackParams
from napari_connecto.workflows.inspect.missed.result import WhyMissed as WhyMissed
from napari_connecto.workflows.inspect.missed.params import MissedParams as MissedParams
from napari_connecto.workflows.inspect.probe import probe as probe
from napari_connecto.workflows.inspect.missed.why_missed import why_missed as why_missed
from napari_connecto.workflows.inspect.prune.prune import prune as prune
from napari_connecto.workflows.inspect.prune.params import PruneParams as PruneParams
from napari_connecto.workflows.inspect.prune.result import Pruned as Pruned
from napari_connecto.workflows.ood.check import gate_check as gate_check
from napari_connecto.workflows.ood.files import load_gate as load_gate, save_gate as save_gate
from napari_connecto.workflows.ood.gate import Gate as Gate, fit_gate as fit_gate, judge_tiles as judge_tiles
from napari_connecto.workflows.packages.detectors import detector as detector
from napari_connecto.workflows.packages.export_model import export_model as export_model
from napari_connecto.workflows.packages.add_model import add_model as add_model
from napari_connecto.workflows.packages.import_model import import_model as import_model
from napari_connecto.workflows.segment.estimate import estimate_segment as estimate_segment
from napari_connecto.workflows.segment.lazy import lazy as lazy
from napari_connecto.workflows.segment.params import SegmentParams as SegmentParams
from napari_connecto.workflows.segment.predict import predict as predict
from napari_connecto.workflows.segment.segment import segment as segment
from napari_connecto.workflows.segment.tune import tune_segmentation as tune_segmentation
from napari_connecto.workflows.segment.volumetric import load_volumetric as load_volumetric
from napari_connecto.workflows.shared.on_grid import kept_where as kept_where
from napari_connecto.workflows.xray.check.check import check_translation as check_translation
from napari_connecto.workflows.xray.training.adapt import adapt_translator as adapt_translator
from napari_connecto.workflows.xray.membranes import membranes as membranes
from napari_connecto.workflows.xray.pair import pair_volumes as pair_volumes
from napari_connecto.workflows.xray.params import PairParams as PairParams, XrayParams as XrayParams
from napari_connecto.workflows.xray.reliability import calibration as calibration
from napari_connecto.workflows.xray.simulate import simulate_xray as simulate_xray
from napari_connecto.workflows.xray.training.train import train_translator as train_translator
from napari_connecto.workflows.xray.translate import translate as translate
from napari_connecto.workflows.xray.translate_params import (
    AdaptParams as AdaptParams,
    TranslateParams as TranslateParams,
    TranslatorParams as TranslatorParams,
)
from napari_connecto.workflows.xray.translator import Translator as Translator, load_translator as load_translator
from napari_connecto.workflows.xray.trust import (
    certain as certain,
    disputed_regions as disputed_regions,
    worst_regions as worst_regions,
)

__version__: str
