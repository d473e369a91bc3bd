"""A model of sections brings the volumetric one beside it, in the library as in shell and docks, unless told not to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.sample_data import list_models
from napari_connecto.widgets.shared.segmentation import Segmenting, segment_cost_job, segmenting_job
from napari_connecto.workflows.recipes.entries.run import Given
from napari_connecto.workflows.recipes.entries.segment import Segment
from napari_connecto.workflows.segment.choice import chosen, fingerprint
from napari_connecto.workflows.segment.estimate import estimate_segment
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.segment.volumetric import VOLUMETRIC, load_volumetric, own_volumetric
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests.adapt_parts import tiny_card
from tests.workflows.segment.test_segment import stored

NM = (10.0, 10.0, 10.0)
SOLID = {"kind": "unet", "dims": 3, "width": 4, "depth": 2, "strides": [[2, 2, 2]]}
WITH = "with a volumetric model"
PLAIN = SegmentParams(volumetric=False)


@pytest.fixture(scope="module")
def domain(tmp_path_factory):
    """A folder with both networks, of random weights."""
    folder = tmp_path_factory.mktemp("domain")
    flat = replace(tiny_card("boundary"), voxel_nm=NM, tile=(1, 32, 32), halo=(0, 8, 8))
    save_model(new_model(flat, 0, device="cpu"), folder)
    solid = replace(flat, tile=(32, 32, 32), halo=(8, 8, 8), network=SOLID)
    save_model(new_model(solid, 1, device="cpu"), folder / VOLUMETRIC)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A saved image of one tile."""
    values = np.random.default_rng(0).integers(0, 255, (32, 32, 32)).astype(np.uint8)
    path = tmp_path_factory.mktemp("image") / "image.ome.zarr"
    save_volume(Volume.from_array(values, NM), path)
    return path


def told(image, params, model, volumetric=None):
    """How it would be segmented: the reason, the digest of the volumetric model, and the fingerprint."""
    volume = open_volume(image)
    choice = chosen(volume, params, model, volume.levels[0].box, volumetric)
    solid = choice.model.volumetric
    job = fingerprint(volume, choice, model, volume.levels[0].box)
    return choice.reason, None if solid is None else solid.card.digest, job


def test_the_model_brings_the_one_beside_it_and_can_do_without(domain, image):
    """Law: the default is the companion that could be passed; ``volumetric=False`` is the model of sections alone."""
    model, solid = load_model(domain, device="cpu"), load_volumetric(domain, device="cpu")
    alone = new_model(model.card, 0, device="cpu")  # the same weights, from no folder
    assert alone.card.digest == model.card.digest
    own = told(image, SegmentParams(), model)
    assert own == told(image, SegmentParams(), alone, solid)
    assert own[0].endswith(WITH)
    assert own[1] == own[2]["params"]["volumetric"] == solid.card.digest
    without = told(image, SegmentParams(), alone)
    assert without == told(image, PLAIN, model) == told(image, PLAIN, model, solid)
    assert without[1] is None
    assert WITH not in without[0]


def test_library_shell_and_dock_do_the_same(domain, image, tmp_path):
    """Law: one place decides, so the boundary maps of all three are equal in every voxel; and their estimates agree."""
    spec, here = VolumeSpec(str(image)), tmp_path
    volume, model = open_volume(image), load_model(domain, device="cpu", backend="torch")
    segment(volume, model=model, out=here / "library")
    asked = Segment(volume=spec, model=str(domain), backend="torch", out=str(here / "shell"))
    run(asked.job(None))
    docked = Segmenting(volume, spec, Path(domain), SegmentParams(), here / "dock")
    run(segmenting_job(docked))
    library, *others = (
        stored(open_volume(here / who / "boundary/boundary.zarr")) for who in ("library", "shell", "dock")
    )
    for other in others:
        np.testing.assert_array_equal(library, other)
    costs = [estimate_segment(volume, model=model), run(asked.estimate_job()), run(segment_cost_job(docked))]
    assert {cost.reason for cost in costs} == {told(image, SegmentParams(), model)[0]}


def test_the_shell_can_leave_it_out(domain, image, tmp_path):
    """Law: the parameter reaches the run; what is stored is the model of sections alone."""
    given = Given(SegmentParams, {"volumetric": False})
    asked = Segment(volume=VolumeSpec(str(image)), model=str(domain), params=given, out=str(tmp_path / "shell"))
    assert not any(WITH in line for line in run(asked.job(None)).lines)
    alone = new_model(load_model(domain, device="cpu").card, 0, device="cpu")
    segment(open_volume(image), model=alone, out=tmp_path / "alone")
    shell, expected = (stored(open_volume(tmp_path / who / "boundary/boundary.zarr")) for who in ("shell", "alone"))
    np.testing.assert_array_equal(shell, expected)


def test_a_model_that_was_changed_has_no_companion(domain):
    """Law: a smaller tile is the same model; other weights are not, for the companion has not learnt what they have."""
    model = load_model(domain, device="cpu")
    assert own_volumetric(model.with_tile((1, 16, 16))) is not None
    assert own_volumetric(new_model(model.card, 3, device="cpu")) is None


def test_of_the_shipped_domains_fly_medulla_brings_one():
    """Law: what shell and docks use of a shipped domain, a script finds that gives the model alone."""
    found = {name: own_volumetric(load_model(folder, device="cpu")) for name, folder in list_models().items()}
    assert [name for name, solid in found.items() if solid is not None] == ["fly-medulla"]
