"""Segments of a translation and where they may be wrong, each with the answer known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.tables.tables import read_table
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.app.neuroglancer import state
from napari_connecto.workflows.app.neuroglancer_xray import translation_layers
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.xray.check import segments as judged
from napari_connecto.workflows.xray.check.check import check_translation
from napari_connecto.workflows.xray.check.choose import default_model
from napari_connecto.workflows.xray.check.compare import compared
from napari_connecto.workflows.xray.check.decisions import Contacts, leaning, merges_of
from napari_connecto.workflows.xray.check.entropy import entropy_of
from napari_connecto.workflows.xray.check.places import uncertain_places
from napari_connecto.workflows.xray.check.segments import Certainty, segment_certainty
from napari_connecto.workflows.xray.translate import Translation, translate
from tests import translate_parts as parts

NM = (10.0, 10.0, 10.0)
DEEP = SegmentParams(mode="3d", min_size=10)


def volume(array: np.ndarray, kind: str = "image", name: str = "map") -> Volume:
    return Volume((Level(array, NM, (100.0, 200.0, 300.0)),), name=name, kind=kind)


def walls(gap: float, shape=(40, 60, 60)) -> np.ndarray:
    """A boundary map, uint8: cells of 20 voxels, one of whose walls (at x = 40) has this probability."""
    p = np.zeros(shape, np.float32)
    for axis in range(3):
        for at in range(20, shape[axis], 20):
            p[(slice(None),) * axis + (slice(at - 1, at + 1),)] = 1
    p[:19, 21:39, 39:41] = gap
    return np.rint(p * 255).astype(np.uint8)


def test_contacts_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 4, (4, 5, 6)), rng.random((4, 5, 6)).astype(np.float32)
    found = Contacts.of(labels, p, flat=False, start=(7, 0, 2))
    expected: dict[tuple[int, int], list[np.ndarray]] = {}
    for here in np.ndindex(labels.shape):
        for axis in range(3):
            there = tuple(n + (k == axis) for k, n in enumerate(here))
            if there[axis] == labels.shape[axis]:
                continue
            a, b = sorted((int(labels[here]), int(labels[there])))
            if 0 < a < b:
                middle = (np.array(here) + there) / 2 + 0.5 + (7, 0, 2)
                expected.setdefault((a, b), []).append(np.array([1, max(p[here], p[there]), *middle]))
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == sorted(expected)
    for k, pair in enumerate(sorted(expected)):
        got = [getattr(found, name)[k] for name in ("area", "height", "z", "y", "x")]
        np.testing.assert_allclose(got, np.sum(expected[pair], axis=0), rtol=1e-6)


def test_a_merge_across_a_faint_wall_is_the_uncertain_one():
    p = walls(0.45).astype(np.float32) / 255
    labels = segment_array(p, DEEP, NM)
    assert labels[10, 30, 30] == labels[10, 30, 50]
    merges, smaller = merges_of(labels, p, DEEP, NM)
    worst = int(np.argmax(leaning(merges.boundary, DEEP.merge_threshold)))
    assert merges.first[worst] == merges.second[worst] == labels[10, 30, 30]
    assert merges.x[worst] / merges.area[worst] == pytest.approx(38, abs=4)  # the contact reaches round the wall
    assert smaller[worst] > 1000


def test_leaning_is_one_half_at_the_threshold():
    np.testing.assert_allclose(leaning(np.array([0.0, 0.2, 0.4, 0.7, 1.0]), 0.4), [0, 0.25, 0.5, 0.75, 1])


def test_a_row_per_segment_with_its_voxels_and_mean_entropy():
    p = walls(0.52)
    labels = segment_array(p / np.float32(255), DEEP, NM)
    found = segment_certainty(volume(labels, "labels"), volume(p), DEEP)
    table, bits = found.segments, entropy(p / 255)
    np.testing.assert_array_equal(table["label"], np.unique(labels))
    np.testing.assert_array_equal(table["voxels"], np.bincount(labels.ravel())[1:])
    for k, label in enumerate(table["label"]):
        at = labels == label
        assert table["uncertainty"][k] == pytest.approx(bits[at].mean(), abs=1e-6)
        centre = (np.argwhere(at).mean(axis=0) + 0.5) * 10 + (100, 200, 300)
        np.testing.assert_allclose([table[c][k] for c in ("z_nm", "y_nm", "x_nm")], centre)
    first, *_ = zip(*[found.decisions[c] for c in ("decision", "label", "other", "uncertainty")], strict=True)
    kind, label, other, doubt = first
    assert kind == "apart"
    assert {label, other} == {labels[10, 30, 30], labels[10, 30, 50]}
    assert 0.25 < doubt < 0.5
    worst = table["split_uncertainty"][np.searchsorted(table["label"], [label, other])]
    np.testing.assert_array_equal(worst, [doubt, doubt])


def test_contacts_and_segments_are_the_same_in_blocks(monkeypatch):
    p = walls(0.52)
    labels = segment_array(p / np.float32(255), DEEP, NM)
    whole = segment_certainty(volume(labels, "labels"), volume(p), DEEP)
    monkeypatch.setattr(judged, "BLOCK", (16, 32, 25))
    blocks = segment_certainty(volume(labels, "labels"), volume(p), DEEP)
    for name in ("label", "voxels", "z_nm", "uncertainty", "split_uncertainty"):
        np.testing.assert_allclose(blocks.segments[name], whole.segments[name])
    apart = [f.decisions["decision"] == "apart" for f in (whole, blocks)]
    for name in ("label", "other", "faces", "boundary", "x_nm"):
        a, b = (f.decisions[name][rows] for f, rows in zip((whole, blocks), apart, strict=True))
        np.testing.assert_allclose(np.sort(b), np.sort(a))


@pytest.mark.parametrize(("gap", "words"), [(0.45, "two cells may be merged"), (0.52, "one cell may be split")])
def test_the_worst_place_says_what_may_be_wrong(gap, words):
    places = uncertain_places(volume(walls(gap)), 3, size_nm=180)
    assert places[0].reason.startswith(words)
    assert np.all(np.array(places[0].box.start) <= (12, 30, 39))
    assert np.all(np.array(places[0].box.stop) > (12, 30, 40))
    assert places[0].entropy == max(p.entropy for p in places)


def test_what_may_be_wrong_is_judged_by_the_thresholds_of_the_segmentation():
    """A boundary that is kept apart by default is merged by a higher threshold: the words follow."""
    bold = SegmentParams(merge_threshold=0.9)
    place, *_ = uncertain_places(volume(walls(0.52)), 3, size_nm=180, params=bold)
    assert place.reason.startswith("two cells may be merged")


def test_no_place_touches_the_border_and_none_touches_another():
    rng = np.random.default_rng(0)
    p = rng.integers(0, 255, (60, 120, 120)).astype(np.uint8)
    p[:, :, :12] = 128  # most uncertain at the border
    places = uncertain_places(volume(p), 8, size_nm=150)
    assert len(places) == 8
    for place in places:
        assert min(place.box.start) >= 6
        assert np.all(np.array(place.box.stop) <= np.array(p.shape) - 6)
    centres = np.array([place.centre_nm for place in places])
    away = np.abs(centres[:, None] - centres[None]).max(axis=2)[~np.eye(8, dtype=bool)]
    assert away.min() > 150


def test_entropy_is_read_from_eight_bits():
    p = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    level = entropy_of(volume(p)).levels[0]
    np.testing.assert_allclose(level.read(level.box), entropy(p / 255), atol=1e-6)


def test_segmentations_are_compared_with_each_other_or_with_a_truth():
    halves = np.ones((20, 20, 20), np.uint32)
    halves[:, :, 10:] = 2
    halves[:, :, :2] = 9  # in the rim, which does not count
    one = volume(np.ones((20, 20, 20), np.uint32), "labels")
    found = compared(one, volume(halves, "labels"))
    assert (found.between.split, found.between.merge) == (0, pytest.approx(1))
    assert "EM-like separates what the X-ray merges (1.00)" in found.sentence
    known = compared(one, volume(halves, "labels"), volume(halves, "labels"))
    assert (known.truth["EM-like"].total, known.truth["X-ray"].total) == (0, pytest.approx(1))
    assert known.sentence.startswith("EM-like segments are closer to the truth: VI 0.00 bits, X-ray 1.00")
    away = replace(one, levels=(replace(one.levels[0], origin_nm=(9000.0, 0.0, 0.0)),))
    with pytest.raises(InputError, match="do not overlap"):
        compared(away, volume(halves, "labels"))


def test_the_default_model_is_the_named_one_then_one_named_alike_then_the_nearest():
    shipped = list_models()
    assert default_model("mine", {"segmenter": "synthetic-neuropil"}, NM, shipped) == "synthetic-neuropil"
    assert default_model("synthetic", {"segmenter": "gone"}, NM, shipped) == "synthetic-neuropil"
    assert default_model("mine", {}, NM, shipped) == "fly-medulla"
    assert default_model("mine", {}, (5000.0,) * 3, shipped) == ""


class Threshold:
    """A boundary model of known answers: 1 where the scaled image is dark, else 0."""

    card = ModelCard(
        "dark",
        "boundary",
        parts.EM_NM,
        (1, 32, 32),
        (0, 0, 0),
        (Output("boundary"),),
        digest="dark",
        normalisation=Normalisation("percentile"),
    )

    def __call__(self, batch, seeds):
        return {"boundary": np.clip(1 - batch[:, 0], 0, 1)}


def test_a_checked_translation_leaves_segments_tables_and_properties(tmp_path):
    xray = parts.xray((18, 20, 20))
    found = translate(xray, parts.untrained(2), out=tmp_path)
    checked = check_translation(found, Threshold(), out=tmp_path / "segments", xray=xray, places=2)
    labels = open_volume(tmp_path / "segments" / "labels" / "labels.zarr").levels[0]
    ids = labels.read(labels.box)
    again = Certainty.load(tmp_path / "segments")
    np.testing.assert_array_equal(again.segments["label"], np.unique(ids))
    np.testing.assert_allclose(again.segments["uncertainty"], checked.certainty.segments["uncertainty"])
    level = checked.entropy.levels[0]
    p = np.asarray(checked.probability.levels[0].read(level.box))
    np.testing.assert_allclose(level.read(level.box), entropy(p / 255), atol=1e-6)
    info = json.loads((tmp_path / "segments" / "properties" / "info").read_text())["inline"]
    assert info["ids"] == [str(i) for i in np.unique(ids)]
    assert info["properties"][0]["values"] == pytest.approx(list(again.segments["uncertainty"]), abs=1e-6)
    assert read_table(tmp_path / "segments" / "decisions.csv")[0].keys() == dict(checked.certainty.decisions).keys()
    assert checked.lines()[0].startswith(f"{len(np.unique(ids))} segments by boundary model 'dark'")
    layers, points = translation_layers(tmp_path)
    urls = [f"http://here/{k}/" for k in range(3)]
    told = state(layers, urls, properties={2: "http://here/3/"}, points=points)["layers"]
    assert [layer["type"] for layer in told] == ["image", "image", "segmentation", "annotation"][: 3 + bool(points)]
    assert told[2]["source"] == ["zarr://http://here/2/", "precomputed://http://here/3"]
    rows = checked.certainty.decisions
    for k, point in enumerate(points[:3]):
        assert point.centre_nm == tuple(rows[name][k] for name in ("z_nm", "y_nm", "x_nm"))
        np.testing.assert_allclose(told[3]["annotations"][k]["point"], np.array(point.centre_nm)[::-1] / 10)
    shutil.rmtree(tmp_path / "segments" / "boundary")
    assert [layer.name for layer in translation_layers(tmp_path)[0]] == ["EM-like (from X-ray)", "segments"]
    part = check_translation(found, Threshold(), region=Box((0, 0, 0), (36, 20, 40)), places=1)
    assert part.labels.levels[0].shape == (36, 20, 40)


def test_the_translators_own_membranes_are_segmented_where_no_model_is_given(tmp_path):
    """As they are, in eight bits: neither scaled nor predicted again."""
    p = walls(0.45)
    grey = volume(np.full(p.shape, 0.5, np.float32))
    found = Translation(grey, grey, grey, {"seams": {}, "translator": "x"}, volume(p.astype(np.float32) / 255))
    checked = check_translation(found, params=DEEP, out=tmp_path / "segments", places=1)
    np.testing.assert_array_equal(checked.probability.levels[0].read(Box((0, 0, 0), p.shape)), p)
    labels = checked.labels.levels[0].read(Box((0, 0, 0), p.shape))
    np.testing.assert_array_equal(labels > 0, True)
    assert len(np.unique(labels)) == len(np.unique(segment_array(p, DEEP)))
    assert checked.lines()[0].startswith(f"{len(np.unique(labels))} segments by the translator's own membranes")
    with pytest.raises(InputError, match="has no membranes of its own"):
        check_translation(replace(found, membrane=None))
