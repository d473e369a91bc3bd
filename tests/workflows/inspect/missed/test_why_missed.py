"""Why a model missed something: shares, rankings, controls and what is refused, on tiny networks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.taps import network
from napari_connecto.workflows.inspect.missed.asked import asked_job, margins_job
from napari_connecto.workflows.inspect.missed.maps import maps_job
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.result import WhyMissed
from napari_connecto.workflows.inspect.missed.why_missed import explained_job, why_missed
from napari_connecto.workflows.shared.whole import answers

NM = (40.0, 8.0, 8.0)
FEW = MissedParams(exact=8, draws=1)
CARD = ModelCard(
    name="tiny",
    task="boundary",
    voxel_nm=NM,
    tile=(1, 32, 32),
    halo=(0, 16, 16),
    outputs=(Output("boundary"),),
    network={"kind": "smp", "encoder": "tu-resnet10t", "depth": 2, "width": 4},
)


def volume(array: np.ndarray, name: str = "it") -> Volume:
    return Volume((Level(array, NM),), name=name)


@pytest.fixture(scope="module")
def model() -> TorchPredictor:
    return new_model(CARD, 0, device="cpu")


@pytest.fixture(scope="module")
def images() -> tuple[Volume, Volume]:
    drawn = np.random.default_rng(0)
    good = drawn.random((1, 64, 64), np.float32)
    return volume((good * 0.5 + 0.1).astype(np.float32), "faint"), volume(good, "clear")


@pytest.fixture(scope="module")
def masks(model: TorchPredictor, images: tuple[Volume, Volume]) -> tuple[np.ndarray, np.ndarray]:
    """Painted where the clear image answers more than the faint one, and where less."""
    faint, clear = (answers(model, np.asarray(v.levels[0].array))["boundary"] for v in images)
    rise = clear - faint
    return rise > np.quantile(rise, 0.8), rise < np.quantile(rise, 0.2)


@pytest.fixture(scope="module")
def found(model, images, masks) -> WhyMissed:
    return why_missed(model, *images, *masks, FEW)


def test_margins_are_mean_logits_over_all_painted_pixels(model, images, masks) -> None:
    """Tiles with their halo add up to what the predictor answers for each tile."""
    with_all = why_missed(model, *images, *masks, replace(FEW, tiles=4))
    for margin, image in zip(with_all.margins, images, strict=True):
        p = answers(model, np.asarray(image.levels[0].array))["boundary"].astype(np.float64)
        logit = np.log(p) - np.log1p(-p)
        assert margin == pytest.approx(logit[masks[0]].mean() - logit[masks[1]].mean(), rel=1e-2)
    assert with_all.painted == (int(masks[0].sum()), int(masks[1].sum()))


def test_stages_that_all_flows_through_restore_everything(found: WhyMissed) -> None:
    restored = {stage.place: stage.restored for stage in found.stages}
    assert restored["encoder.1"] == pytest.approx(1, abs=1e-3)
    assert restored["decoder.2"] == pytest.approx(1, abs=1e-3)
    assert restored["skip.1"] != pytest.approx(1, abs=0.1)
    for stage in found.stages:
        assert {points[-1] for points in stage.curves.values()} == {(1.0, stage.restored)}
    assert {stage.place: stage.scale_nm for stage in found.stages}["encoder.2"] == (40.0, 32.0, 32.0)


def test_channels_are_ranked_by_effect_and_checked_exactly(found: WhyMissed) -> None:
    assert found.direct is not None
    for ranking in (found.total, found.direct):
        effects = [channel.effect for channel in ranking.top]
        assert effects == sorted(effects, reverse=True)
        assert -1 <= ranking.spearman <= 1
    assert [c.exact for c in found.total.carriers] == sorted((c.exact for c in found.total.top), reverse=True)
    last = [channel for channel in found.total.top if channel.place == "decoder.2"]
    assert last, "a channel of the last block is among the first"
    for channel in last:  # only a convolution follows: first order is exact there
        assert channel.exact == pytest.approx(channel.effect, abs=1e-3)
    assert sum(found.effects["decoder.2"]) == pytest.approx(1, abs=1e-3)
    one = found.total.top[0]
    assert found.total.together["gradient"][0] == (1, pytest.approx(one.exact))


def test_a_planted_fault_is_ranked_first() -> None:
    healthy = new_model(CARD, 0, device="cpu")
    place = "encoder.1"
    faulty_net = new_model(CARD, 0, device="cpu").net
    convs = [m for m in faulty_net.modules() if isinstance(m, torch.nn.Conv2d)]
    faulty = next(m for m in convs if m.out_channels == network(healthy).taps[place].channels)
    with torch.no_grad():
        faulty.weight[5] = -3 * faulty.weight[5].flip(-1)
    ill = TorchPredictor(CARD, faulty_net, "cpu")
    image = volume(np.random.default_rng(1).random((1, 32, 32), np.float32))
    here, there = (answers(m, np.asarray(image.levels[0].array))["boundary"] for m in (ill, healthy))
    rise = there - here
    told = why_missed(ill, image, healthy, rise > np.quantile(rise, 0.8), rise < np.quantile(rise, 0.2), FEW)
    encoder = np.argsort(-told.effects[place])
    assert encoder[0] == 5
    assert told.effects[place][5] > 3 * np.abs(np.delete(told.effects[place], 5)).max()
    assert (told.model, told.good_model, told.bad, told.good) == ("tiny", "tiny", "it", "it")


def test_masks_may_have_a_voxel_size_of_their_own(model, images, masks) -> None:
    own = [volume(mask.astype(np.uint8)) for mask in masks]
    uncalibrated = [replace(mask, calibrated=False) for mask in own]
    expected = run(asked_job(model, *images, *masks, FEW))
    sections = [mask[0] for mask in masks]
    for same in (own, uncalibrated, sections):
        asked = run(asked_job(model, *images, *same, FEW))
        for one, other in zip(asked.painted, expected.painted, strict=True):
            np.testing.assert_array_equal(one.missed, other.missed)
            np.testing.assert_array_equal(one.background, other.background)


def test_a_region_counts_its_pixels_alone(model, images, masks) -> None:
    asked = run(asked_job(model, *images, *masks, FEW, region=Box((0, 8, 8), (1, 24, 40))))
    assert asked.counts == (int(masks[0][:, 8:24, 8:40].sum()), int(masks[1][:, 8:24, 8:40].sum()))


def test_few_tiles_are_those_with_most_pixels(model, images) -> None:
    missed, background = np.zeros((2, 1, 64, 64), bool)
    missed[0, 40:50, 40:50], missed[0, 2, 2] = True, True
    background[0, 60, 60] = background[0, 3, 3] = True
    asked = run(asked_job(model, *images, missed, background, MissedParams(tiles=1)))
    assert [p.tile.write.start for p in asked.painted] == [(0, 32, 32)]
    assert asked.counts == (100, 1)


def test_replacing_nothing_or_everything_spans_the_gap(model, images, masks, found: WhyMissed) -> None:
    asked = run(asked_job(model, *images, *masks, FEW))
    everything = dict.fromkeys(asked.patcher.taps)
    margins = run(margins_job(asked, [{}, everything]))
    np.testing.assert_allclose(margins, found.margins, rtol=1e-4)


def test_maps_lie_where_the_tile_lies(model, images, masks) -> None:
    asked = run(asked_job(model, *images, *masks, FEW))
    told = run(explained_job(asked, FEW))
    maps = run(maps_job(asked, told, shown=1))
    box = asked.painted[0].tile.write
    assert maps["bad"].levels[0].shape == box.shape
    assert maps["bad"].levels[0].origin_nm == tuple(asked.levels[0].to_nm(box.start))
    expected = answers(model, np.asarray(images[0].levels[0].array))["boundary"][box.slices]
    np.testing.assert_allclose(maps["bad"].levels[0].array, expected, atol=1e-3)
    first = told.total.carriers[0]
    label = f"{first.place}-{first.channel}"
    bad, good, difference = (maps[f"{label} {name}"].levels[0].array for name in ("bad", "good", "difference"))
    np.testing.assert_allclose(good - bad, difference, atol=1e-6)


def test_the_document_is_json_and_the_sentences_name_the_channels(found: WhyMissed) -> None:
    told = json.loads(json.dumps(found.to_json()))
    assert told["gap"] == found.gap
    assert told["lines"] == found.lines()
    assert "'faint'" in found.lines()[0]
    assert "'clear'" in found.lines()[0]
    if found.total.trusted:
        assert found.total.carriers[0].name in "\n".join(found.lines())
    doubted = replace(found, total=replace(found.total, spearman=0.5))
    assert any("do not trust the ranking" in line for line in doubted.lines())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, i, k: (m, i[1], i[0], *k), r"there is nothing to restore: paint other pixels, or exchange"),
        (lambda m, i, k: (m, i[0], i[0], *k), r"got one image and one model; give a better version"),
        (lambda m, i, k: (m, *i, k[0] & False, k[1]), r"got no pixel painted as missed; paint some"),
        (lambda m, i, k: (m, *i, k[0], k[1] & False), r"got no pixel painted as background; paint some"),
        (lambda m, i, k: (m, *i, k[0][:, :9], k[1]), r"got painted pixels of shape \(1, 9, 64\) without a voxel size"),
        (lambda m, i, k: (m, i[0], np.zeros((1, 64, 64)), *k), r"got ndarray for good; give a better version"),
        (lambda m, i, k: (m, np.zeros((1, 64, 64)), i[1], *k), r"got an image of type ndarray; make it a volume"),
        (
            lambda m, i, k: (m, i[0], volume(np.zeros((1, 8, 8), np.float32), "small"), *k),
            r"'small' of \(1, 8, 8\) voxels as the models read them; both must show one scene",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(model, images, masks, change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        why_missed(*change(model, images, masks), FEW)


class Watched:
    """An array that notes what is read."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, list[tuple[slice, ...]]()

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        self.read.append(key)
        return np.asarray(self._array[key])


def test_masks_are_not_read_outside_of_the_region(model, images, masks) -> None:
    watched = [Watched(mask.astype(np.uint8)) for mask in masks]
    own = [Volume((Level(one, NM),)) for one in watched]
    run(asked_job(model, *images, *own, FEW, region=Box((0, 8, 8), (1, 24, 40))))
    for one in watched:
        assert one.read
        assert all(8 <= k[1].start < k[1].stop <= 24 and 8 <= k[2].start < k[2].stop <= 40 for k in one.read)
