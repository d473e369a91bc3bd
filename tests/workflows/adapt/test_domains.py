"""Domains are made, read back, compared; what is apart stays apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, ModelError, StoreError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.domains import Domain, load_library
from napari_connecto.workflows.adapt.params import DomainParams, RankParams
from napari_connecto.workflows.adapt.rank import rank_domains
from napari_connecto.workflows.adapt.train_domain import About, split, train_domain_job
from napari_connecto.workflows.shared.em_labels import to_em
from tests import adapt_parts
from tests.workflows.watched import watched

NM = (40.0, 8.0, 8.0)


def volumes(shape=(40, 64, 64), voxel_nm=NM):
    rng = np.random.default_rng(0)
    image = np.arange(shape[0], dtype=np.uint8)[:, None, None] * np.ones(shape, np.uint8)
    labels = rng.integers(1, 5, shape).astype(np.uint32)
    return Volume.from_array(image, voxel_nm, name="em"), Volume.from_array(labels, voxel_nm, kind="labels")


def test_the_block_that_measures_lies_apart_from_the_one_that_is_learnt_from():
    train, held_out = split(*volumes(), DomainParams(label_kind="em", held_out=0.25))
    assert train.image[:, 0, 0].tolist() == list(range(28))
    assert held_out.image[:, 0, 0].tolist() == list(range(33, 40))  # 200 nm are five sections of 40 nm
    few = split(*volumes((2, 200, 64)), DomainParams(label_kind="em", held_out=0.25))
    assert [e.image.shape for e in few] == [(2, 138, 64), (2, 37, 64)]


@pytest.mark.parametrize(
    ("shape", "train", "held_out"),
    [
        ((8, 64, 64), (8, 36, 64), (8, 3, 64)),  # z: 8 sections, of which the gap takes 5
        ((9, 200, 300), (9, 200, 213), (9, 200, 62)),
        ((1, 90, 400), (1, 90, 288), (1, 90, 87)),
        ((6, 500, 100), (6, 363, 100), (6, 112, 100)),
        ((12, 400, 400), (12, 288, 400), (12, 87, 400)),
        ((16, 400, 400), (10, 400, 400), (1, 400, 400)),
    ],
)
def test_a_stack_without_room_along_z_is_cut_where_there_is_most(shape, train, held_out):
    parts = split(*volumes(shape), DomainParams(label_kind="em"))
    assert [e.image.shape for e in parts] == [train, held_out]


def test_blocks_that_cannot_be_split_and_other_grids_are_refused():
    with pytest.raises(InputError, match="too small to hold out 25 % with a gap of 200 nm along any axis"):
        split(*volumes((8, 25, 25)), DomainParams(label_kind="em"))
    image, _ = volumes()
    with pytest.raises(InputError, match="must share one grid"):
        split(image, volumes((40, 64, 65))[1], DomainParams())


@pytest.mark.slow
def test_a_domain_is_made_and_found_again(tmp_path):
    made = phantom("neuropil", (28, 160, 160), seed=3)
    truth = made.truth["neurons"]
    labels = replace(truth, levels=(replace(truth.levels[0], array=to_em(truth.levels[0].array, "instances")),))
    encoder = TorchEncoder(new_model(adapt_parts.tiny_card("encoder"), 0, device="cpu"))
    params = DomainParams(label_kind="em", steps=60, crop=96, batch=2, depth=3, patches=20, device="cpu")
    about = About(tissue="phantom", data="ours", licence="MIT")
    domain = watched(train_domain_job("x", made.image, labels, tmp_path / "x", encoder, params, about))
    again = load_library(tmp_path)["x"]
    np.testing.assert_array_equal(again.features, domain.features)
    assert domain.features.shape == (20, encoder.dim)
    assert again.about["encoder"] == encoder.card.digest
    assert (again.card.licence, again.about["tissue"]) == ("MIT", "phantom")
    assert domain.card.metrics["boundary_f1"] > 0.7
    assert 0 < domain.card.metrics["vi"] < 1
    with pytest.raises(StoreError, match="choose a new folder for the domain"):
        run(train_domain_job("x", made.image, labels, tmp_path / "x", encoder, params, about))
    (tmp_path / "x" / "features.npy").write_bytes(b"not an array")
    with pytest.raises(ModelError, match="is not a domain"):
        Domain.load(tmp_path / "x")


@pytest.mark.slow
def test_spaces_do_not_mix(tmp_path):
    adapt_parts.library(tmp_path / "library", steps=1)
    about = tmp_path / "library/far/domain.json"
    about.write_text(about.read_text().replace('"encoder": "', '"encoder": "0'))
    with pytest.raises(InputError, match="features of domain 'far' come from encoder 0"):
        rank_domains(volumes()[0], tmp_path / "library", RankParams())
