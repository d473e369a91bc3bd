from __future__ import annotations

import numpy as np
import pytest

import napari_connecto as nc
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.adapt.annotate.suggest import Suggestion, suggest, suggest_job
from napari_connecto.workflows.adapt.params import SuggestParams
from tests.workflows.checkers import NM, SIZE, Believer, bits, checkers, volume
from tests.workflows.watched import watched

LEVELS = np.array([[0.05, 0.1, 0.15, 0.2], [0.25, 0.3, 0.32, 0.0], [0.12, 0.28, 0.18, 0.07]])[None]
TISSUE = np.argwhere(LEVELS > 0)


def cell(suggestion: Suggestion, size: int = SIZE) -> tuple[int, int]:
    _, y, x = suggestion.box.start
    assert suggestion.box.shape == (1, size, size)
    assert y % size == x % size == 0
    return y // size, x // size


def by_bits(key) -> list[tuple[int, int]]:
    return [(y, x) for _, y, x in sorted(TISSUE.tolist(), key=lambda c: key(bits(LEVELS[tuple(c)])))]


def chosen(n: int, **more) -> list[tuple[int, int]]:
    return [cell(s) for s in suggest(volume(LEVELS), Believer(), n, size=SIZE, **more)]


class Brightness:
    """An encoder of one number: where the patch's checkerboard lies between grey and black-and-white."""

    card = Believer().card

    def __call__(self, batch):
        return batch.std(axis=(1, 2, 3, 4))[:, None]


def test_median_is_the_default():
    middle = np.median([bits(p) for p in LEVELS[LEVELS > 0]])
    want = by_bits(lambda b: abs(b - middle))
    first = suggest(volume(LEVELS), Believer(), 3, size=SIZE)
    assert [cell(s) for s in first] == want[:3]
    assert first[0].score == pytest.approx(middle, abs=1e-6)
    assert first[0].reason == f"uncertainty {middle:.2g} bit, the pool's median is {middle:.2g} (rank 1 of 11)"


def test_entropy_takes_the_least_sure():
    assert chosen(4, strategy="entropy") == by_bits(lambda b: -b)[:4] == [(1, 2), (1, 1), (2, 1), (1, 0)]
    assert chosen(4, strategy="median-pixel") == chosen(4, strategy="entropy")


def test_k_center_spans_the_encoders_space():
    three = set(chosen(3, strategy="k-center", encoder=Brightness()))
    assert {(0, 0), (1, 2)} < three  # the most and the least contrast
    diverse = chosen(2, strategy="entropy", diversity=True, encoder=Brightness())
    assert diverse == [by_bits(lambda b: -b)[0], by_bits(lambda b: -b)[7]]


def test_every_patch_is_proposed_once_and_the_empty_one_never():
    for strategy in ("median", "random", "badge"):
        assert sorted(chosen(11, strategy=strategy, encoder=Brightness())) == [(y, x) for _, y, x in TISSUE.tolist()]


def test_what_is_excluded_is_not_proposed():
    best = chosen(1, strategy="entropy")[0]
    taken = Box((0, best[0] * SIZE + 31, best[1] * SIZE), (1, best[0] * SIZE + 32, best[1] * SIZE + 1))  # one voxel
    assert chosen(3, strategy="entropy", exclude=[taken]) == by_bits(lambda b: -b)[1:4]


def test_the_random_arm_is_drawn_from_all_and_says_so():
    last, levels = [], np.tile(LEVELS, (1, 2, 2))
    for seed in range(20):
        found = suggest(
            volume(levels), Believer(), 3, params=SuggestParams(strategy="entropy", size=SIZE, random_arm=1), seed=seed
        )
        assert len({cell(s) for s in found}) == 3
        assert found[2].reason.startswith("drawn at random from 44 patches, whatever the strategy")
        y, x = cell(found[2])  # what lies within 400 nm of a held-out patch is not learnt from
        far = [v for (_, i, j), v in np.ndenumerate(levels) if v > 0 and max(abs(i - y), abs(j - x)) > 2]
        np.testing.assert_allclose([s.score for s in found[:2]], sorted(map(bits, far))[:-3:-1], atol=1e-6)
        last.append((y, x))
    assert len(set(last)) > 10


def test_flips_of_a_symmetric_model_agree():
    found = suggest(volume(LEVELS), Believer(), 1, size=SIZE, uncertainty="flips")
    assert found[0].score == 0
    assert "0 in variance over flips" in found[0].reason


def test_thumbnails_show_the_patch():
    found = suggest(volume(LEVELS), Believer(), 1, size=SIZE, strategy="entropy")[0]
    image = checkers(LEVELS)[found.box.slices][0]
    assert found.thumbnail.dtype == np.uint8
    np.testing.assert_array_equal(found.thumbnail, np.where(image > 0.5, 255, 0))


def test_boxes_are_of_the_finest_level():
    coarse = Level(checkers(LEVELS), NM)
    fine = Level(np.repeat(np.repeat(checkers(LEVELS), 2, 1), 2, 2), (40.0, 4.0, 4.0))
    found = suggest(Volume((fine, coarse)), Believer(), 2, size=SIZE, strategy="entropy")
    assert [cell(s, 2 * SIZE) for s in found] == [(1, 2), (1, 1)]


def test_where_no_level_fits_boxes_of_the_finest_still_do_not_overlap():
    rng = np.random.default_rng(0)
    image = np.kron(rng.random((1, 40, 40)), np.ones((1, 8, 8))).astype(np.float32)
    odd = Volume.from_array(image, (40.0, 5.7, 5.7))
    taken = [Box((0, 101, 150), (1, 163, 222))]
    found = suggest(odd, Believer(), 20, size=SIZE, exclude=taken, pool=50)
    for i, one in enumerate(found):
        assert not any(one.box.overlaps(box) for box in [*taken, *(s.box for s in found[:i])])
        assert one.box.shape[1] == pytest.approx(SIZE * 8 / 5.7, abs=1)


def test_progress_counts_patches():
    reports = []
    watched(suggest_job(volume(LEVELS), Believer(), 2, size=SIZE), reports.append)
    assert [(p.done, p.total) for p in reports if p.stage == "predicting"] == [(i, 11) for i in range(1, 12)]


def test_the_public_names():
    assert nc.suggest is suggest
    assert nc.Suggestion is Suggestion


@pytest.mark.parametrize(
    ("n", "more", "message"),
    [
        (1, {"exclude": [Box((0, 0, 0), (1, 96, 128))]}, r"0 of 32 voxels contain tissue besides the 1 already taken"),
        (0, {}, "got 0 patches to suggest"),
        (2, {"random_arm": 3}, "got 3 of 2 suggestions to draw at random"),
        (2, {"strategy": "k-center"}, "no encoder, which strategy 'k-center' needs"),
        (2, {"strategy": "best"}, "got strategy='best'; allowed: median"),
        (2, {"stratgy": "median"}, r"got unknown SuggestParams \['stratgy'\]"),
    ],
)
def test_refuses(n, more, message):
    with pytest.raises(InputError, match=message):
        chosen(n, **more)


@pytest.mark.parametrize(
    ("n", "more", "there", "message"),
    [
        (
            12,
            {},
            11,
            r"got 12 patches to suggest, but in the whole volume 11 of 32 voxels contain tissue (1 skipped as",
        ),
        (
            11,
            {"exclude": [Box((0, 0, 0), (1, 1, 1))]},
            10,
            "10 of 32 voxels contain tissue besides the 1 already taken",
        ),
        (11, {}, 11, ""),
    ],
)
def test_where_there_are_fewer_they_come_with_a_sentence(n, more, there, message):
    found = suggest(volume(LEVELS), Believer(), n, size=SIZE, **more)
    assert len(found) == there
    assert message in found.note
    assert bool(found.note) is bool(message)


def test_refuses_what_does_not_fit():
    with pytest.raises(ModelError, match="not 'boundary'"):
        suggest(volume(LEVELS), Believer(outputs=(Output("object"),)), 1)
    two = Volume.from_array(np.stack([checkers(LEVELS)] * 2), NM)
    with pytest.raises(InputError, match="got 2 channels, the model 'believer' takes 1"):
        suggest(two, Believer(), 1)
