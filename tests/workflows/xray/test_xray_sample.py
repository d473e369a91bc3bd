"""The pair that ships: small, honest about itself, and hard enough that translating it could help."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.phantoms import phantom
from napari_connecto.sample_data import PAIRS, open_sample, shipped_folder
from napari_connecto.workflows.adapt.em_samples import nearest
from napari_connecto.workflows.recipes.parts import model_folder
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.xray.params import XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_lies_in_one_place_and_says_what_it_is(name):
    xray, em, neurons = open_sample(name), open_sample(name, "em"), open_sample(name, "neurons")
    extents = [np.array(v.levels[0].shape) * v.levels[0].voxel_nm for v in (xray, em, neurons)]
    np.testing.assert_allclose(extents[0], extents[1])
    np.testing.assert_allclose(extents[1], extents[2])
    assert xray.levels[0].voxel_nm == (30.0, 30.0, 30.0)
    assert em.levels[0].origin_nm == xray.levels[0].origin_nm == (0.0, 0.0, 0.0)
    assert xray.name == "X-ray (simulated from neuropil-isotropic)"
    assert xray.metadata["simulated"]["fwhm_nm"] == [60.0, 60.0, 60.0]
    assert em.metadata["synthetic"] is True
    assert neurons.kind == "labels"


def test_the_x_ray_is_made_of_the_em_beside_it():
    em, xray = open_sample("xray-test", "em"), open_sample("xray-test")
    seed = xray.metadata["simulated"]["seed"]
    made = simulate_xray(Volume(em.levels, name=em.name), XrayParams(seed=seed)).levels[0].array
    np.testing.assert_allclose(made, xray.levels[0].read(xray.levels[0].box), atol=1)


def test_the_test_pair_is_other_tissue():
    seeds = [open_sample(name, "em").metadata["seed"] for name in PAIRS]
    assert len(set(seeds)) == 2
    ems = [open_sample(name, "em").levels[0] for name in PAIRS]
    one, other = (em.read(Box((0, 0, 0), (96, 160, 160))).ravel() for em in ems)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1


@pytest.mark.slow
def test_the_test_pair_is_made_by_the_seed_that_it_states():
    again = phantom("neuropil-isotropic", (96, 162, 162), open_sample("xray-test", "em").metadata["seed"])
    level = open_sample("xray-test", "neurons").levels[0]
    np.testing.assert_array_equal(level.read(level.box), again.truth["neurons"].levels[0].array)


def test_pairs_together_are_smaller_than_10_mb():
    files = (f for name in PAIRS for f in shipped_folder().glob(f"{name}[._]*/**/*") if f.is_file())
    assert 1e6 < sum(f.stat().st_size for f in files) < 10e6


def test_a_pair_that_does_not_ship_is_named():
    with pytest.raises(InputError, match=r"there are: .*xray \(em, neurons\)"):
        open_sample("xray", "mitochondria")


@pytest.mark.slow
def test_a_fixed_segmenter_does_clearly_worse_on_interpolated_x_ray_than_on_em():
    em, truth = open_sample("xray-test", "em"), open_sample("xray-test", "neurons").levels[0]
    finer = resampled(open_sample("xray-test").levels[0], em.levels[0].voxel_nm)
    model = load_model(model_folder("synthetic-neuropil"), device="cpu")
    found = {}
    for name, volume in (("em", em), ("xray", Volume((finer,)))):
        labels = segment(volume, SegmentParams(mode="3d"), model=model).levels[0]
        seen = nearest(labels.read(labels.box), labels, truth)
        found[name] = variation_of_information(seen, truth.read(truth.box)).total
    assert found["em"] < 0.3
    assert found["xray"] > found["em"] + 0.6
