"""Laws of fields of view: everything lies in one, none is superfluous, and their number is between its bounds."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import run
from napari_connecto.io.tables.tables import read_table
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.fields.boxes import cut, independent, inside
from napari_connecto.workflows.cascade.results.fields.cover import cover_job
from napari_connecto.workflows.cascade.results.fields.plan import plan_fields, plan_fields_job
from napari_connecto.workflows.cascade.results.fields.route import length, route
from napari_connecto.workflows.cascade.results.params import FieldParams
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED

VOXEL = (2000.0, 1000.0, 1000.0)
few = settings(max_examples=8, deadline=None)
scenes = st.tuples(st.integers(0, 10**6), st.integers(1, 40), st.integers(60, 600))


def scene(seed: int, n: int, extent: int, largest: int = 12) -> Detections:
    """``n`` boxes of up to ``largest`` voxels somewhere in ``extent`` voxels, some of them close together."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, extent, (n, 3)) // rng.choice([1, 20], (n, 1)) * 1
    box = np.concatenate([start, start + rng.integers(1, largest, (n, 3))], axis=1)
    image = {"voxel_nm": VOXEL, "origin_nm": (0.0, -5e4, 1e6), "shape": (extent + 12,) * 3}
    grid = np.array(image["origin_nm"]) + (start + 0.5) * VOXEL
    return Detections(grid, rng.random(n), box, np.empty(0, np.int64), {"levels": [image], "image": image})


def boxes_um(found: Detections, margin: float) -> tuple[np.ndarray, np.ndarray]:
    origin = np.array(found.report["image"]["origin_nm"])
    low, high = (origin + found.box[:, part] * VOXEL for part in (slice(0, 3), slice(3, 6)))
    return low / 1000 - margin, high / 1000 + margin


def lies_in(low, high, fields, slack=1e-6):
    """(fields, objects), in all three axes."""
    return ((low >= fields.start_um[:, None] - slack) & (high <= fields.stop_um[:, None] + slack)).all(axis=2)


@given(scenes, st.sampled_from([0.0, 70.0]), st.sampled_from([0.0, 5.0]))
@few
def test_every_object_lies_with_its_margin_in_the_field_that_is_there_for_it_and_no_field_is_superfluous(
    asked, depth, margin
):
    found = scene(*asked)
    fields = plan_fields(found, FieldParams(size=(60.0, 50.0), depth=depth, margin=margin))
    low, high = boxes_um(found, margin)
    fits = lies_in(low, high, fields)
    listed = np.concatenate(fields.objects)
    assert sorted(listed.tolist()) == found.id.tolist()
    for row, ids in zip(fits, fields.objects, strict=True):
        assert row[ids - 1].all()
        assert len(ids)
    plane = [i for i in range(3) if i or depth]
    flat = (low[:, plane] >= fields.start_um[:, None, plane] - 1e-6) & (
        high[:, plane] <= fields.stop_um[:, None, plane] + 1e-6
    )
    covered = flat.all(axis=2)
    for field in range(len(fields)):
        assert not np.delete(covered, field, axis=0).any(axis=0).all()
    assert fields.at_least <= len(fields) <= fields.grid
    extent = fields.stop_um - fields.start_um
    np.testing.assert_allclose(extent[:, 1:], np.tile([60.0, 50.0], (len(fields), 1)))
    if depth:
        np.testing.assert_allclose(extent[:, 0], depth)


@given(st.integers(0, 10**6), st.integers(1, 7), st.sampled_from([2, 3]))
@few
def test_few_objects_have_the_fewest_fields_there_are(seed, n, d):
    """By trying every choice of fields that begin where objects begin."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 2.5, (n, d))
    high, size = low + rng.uniform(0, 0.6, (n, d)), np.ones(d)
    cover = run(cover_job(low, high, size))
    corners = np.array(list(itertools.product(*(low[:, axis] for axis in range(d)))))
    held = np.unique(inside(low, high, corners, size), axis=0)
    least = next(
        k
        for k in range(1, n + 1)
        if any(held[list(some)].any(axis=0).all() for some in itertools.combinations(range(len(held)), k))
    )
    assert (len(cover.starts), cover.at_least) == (least, least)


@given(st.integers(0, 10**6))
@settings(few, max_examples=2)
def test_many_crowded_objects_are_covered_within_the_bounds_and_always_alike(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 4, (150, 2))
    high, size = low + rng.uniform(0, 0.3, low.shape), np.ones(2)
    cover, again = run(cover_job(low, high, size)), run(cover_job(low, high, size))
    np.testing.assert_array_equal(cover.starts, again.starts)
    assert inside(low, high, cover.starts, size).any(axis=0).all()
    assert independent(low, high, size) <= cover.at_least <= len(cover.starts) <= cover.grid


@given(scenes)
@few
def test_an_object_larger_than_a_field_lies_in_several_together(asked):
    found = scene(*asked, largest=150)
    params = FieldParams(size=(60.0, 50.0), margin=2.0)
    fields = plan_fields(found, params)
    low, high = boxes_um(found, 2.0)
    rng = np.random.default_rng(0)
    for i, one in enumerate(found.id):
        mine = np.array([one in ids for ids in fields.objects])
        points = rng.uniform(low[i], high[i], (200, 3))
        held = (points >= fields.start_um[mine][:, None] - 1e-6) & (points <= fields.stop_um[mine][:, None] + 1e-6)
        assert held.all(axis=2).any(axis=0).all()


@given(st.lists(st.tuples(*[st.floats(0, 9)] * 2, *[st.floats(0.01, 9)] * 2), min_size=1, max_size=9))
@few
def test_parts_fill_their_box_and_fit_a_field(boxes):
    low, extent = np.array(boxes)[:, :2], np.array(boxes)[:, 2:]
    size = np.array([1.0, 2.0])
    a, b, owner = cut(low, low + extent, size)
    assert (b - a <= size * (1 + 1e-6)).all()
    for i in range(len(low)):
        np.testing.assert_allclose(a[owner == i].min(axis=0), low[i])
        np.testing.assert_allclose(b[owner == i].max(axis=0), low[i] + extent[i])
        assert (b - a)[owner == i].prod(axis=1).sum() == pytest.approx(extent[i].prod())
        assert np.count_nonzero(owner == i) == np.ceil(extent[i] / size - 1e-9).prod()


@given(st.integers(0, 10**6), st.integers(0, 60))
@few
def test_the_way_visits_each_field_once_and_no_two_steps_are_better_exchanged(seed, n):
    points = np.random.default_rng(seed).uniform(0, 9, (n, 2))
    order = route(points)
    assert sorted(order.tolist()) == list(range(n))
    way, best = points[order], length(points[order])
    for i in range(n - 1):
        for j in range(i + 2, n):
            assert length(np.concatenate([way[: i + 1], way[i + 1 : j + 1][::-1], way[j + 1 :]])) >= best - 1e-6


def test_only_what_is_asked_for_is_covered():
    found = scene(1, 4, 600)
    object.__setattr__(found, "status", np.array([NEW, NEW, ACCEPTED, REJECTED]))
    object.__setattr__(found, "score", np.array([0.2, 0.8, 0.1, 0.9]))

    def covered(**params):
        fields = plan_fields(found, FieldParams(size=(60.0, 60.0), **params))
        return sorted(np.concatenate(fields.objects).tolist())

    assert covered() == [1, 2, 3]
    assert covered(min_score=0.5) == [2, 3]
    assert covered(accepted_only=True) == [3]
    with pytest.raises(InputError, match="nothing to cover"):
        plan_fields(found.where(found.status == REJECTED))


def test_a_file_has_the_middle_of_each_field_in_stage_units(tmp_path):
    found = scene(3, 9, 300)
    params = FieldParams(size=(60.0, 50.0), origin=(1.0, 2.0, 3.0), scale=(1.0, -0.001, 0.001))
    fields = plan_fields(found, params)
    fields.save(tmp_path / "f.csv")
    fields.save(tmp_path / "f.json")
    table, _ = read_table(tmp_path / "f.csv")
    middle = (fields.start_um + fields.stop_um) / 2
    np.testing.assert_allclose(table["y"], 2 - middle[:, 1] / 1000, rtol=1e-8)
    np.testing.assert_allclose(table["x"], 3 + middle[:, 2] / 1000, rtol=1e-8)
    assert (table["y_size"].tolist(), table["x_size"].tolist()) == ([0.06] * len(fields), [0.05] * len(fields))
    assert table["objects"].sum() == 9
    told = json.loads((tmp_path / "f.json").read_text())["fields"]
    assert [field["objects"] for field in told] == [ids.tolist() for ids in fields.objects]
    assert [field["x"] for field in told] == table["x"].tolist()


def test_what_cannot_be_is_refused_in_a_line(tmp_path):
    found = scene(0, 3, 90)
    with pytest.raises(InputError, match="twice the margin must fit"):
        plan_fields(found, FieldParams(size=(60.0, 50.0), margin=25.0))
    with pytest.raises(InputError, match="no 0 in scale"):
        plan_fields(found, FieldParams(scale=(1.0, 0.0, 1.0))).save(tmp_path / "f.csv")
    with pytest.raises(InputError, match=r"allowed: names that end in \.csv, \.parquet, \.json"):
        plan_fields(found).save(tmp_path / "f.txt")
    found.save(tmp_path / "t.csv")
    with pytest.raises(InputError, match="does not state the voxel size"):
        plan_fields(Detections.load(tmp_path / "t.csv"))
    job = plan_fields_job(found)
    next(job)
    job.close()
