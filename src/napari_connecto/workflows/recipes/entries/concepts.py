"""What does a network know? concepts, probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.inspect.concepts.params import ConceptParams, ProbeParams
from napari_connecto.workflows.recipes.entries.run import MODEL, OnImage, Summary, region_field
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@dataclass(frozen=True, kw_only=True)
class FindConcepts(OnImage):
    """Find which stages of MODEL tell a structure of PATH, since which checkpoint and from which size on.

    Writes concepts.csv, a row for each network and stage, and concepts.json.
    """

    workflow: ClassVar[str] = "concepts"
    reports: ClassVar[bool] = False

    model: str = param(
        REQUIRED, f"{MODEL} Or a folder of its checkpoints, in folders whose names end in their step.", role="model"
    )
    masks: VolumeSpec = param(REQUIRED, "Labels of the structure: any readable volume.", role="labels")
    sizes: str | None = param(
        None, "A folder of models of other sizes, in folders whose names end in their width.", role="folder"
    )
    out: str = param(REQUIRED, "Folder of the result.", role="out")
    region: Box | None = region_field()
    params: ConceptParams = param(ConceptParams(), "What is read from the network.")

    def job(self, client: Any) -> Job[Summary]:
        """Read concepts from activations."""
        from napari_connecto.workflows.recipes.concepts import find_concepts

        return find_concepts(self)


@dataclass(frozen=True, kw_only=True)
class MakeProbe(OnImage):
    """Make a pixel classifier of what is scribbled in PATH, on MODEL's own features.

    The result is a model: `predict` and `segment` take it.
    """

    workflow: ClassVar[str] = "probe"
    reports: ClassVar[bool] = False

    model: str = param(REQUIRED, MODEL, role="model")
    scribbles: VolumeSpec = param(REQUIRED, "Labels: 0 not labelled, 1 background, 2 and more classes.", role="labels")
    out: str = param(REQUIRED, "New folder of the classifier.", role="out")
    region: Box | None = region_field("Only scribbles in this box, in voxels of the finest level.")
    params: ProbeParams = param(ProbeParams(), "What the classifier learns from.")

    def job(self, client: Any) -> Job[Summary]:
        """Fit a classifier."""
        from napari_connecto.workflows.recipes.concepts import make_probe

        return make_probe(self)
