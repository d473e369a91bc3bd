"""Blobs on the held-out objects: their contrast and channel come from the labels, and nothing is learnt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_connecto.core.jobs import run
from napari_connecto.core.views.channel import one_channel
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.thresholds.held_out import HeldOut
from napari_connecto.workflows.cascade.thresholds.untrained import FEW, Untrained, doubtful, untrained_job
from tests.workflows.cascade.test_baseline import discs, scene


def seen(contrast, **changes):
    volume, examples, boxes, card, rule = scene(discs(), contrast)
    return run(untrained_job(volume, examples, boxes, card, replace(rule, **changes)))


@pytest.mark.parametrize("contrast", [60, -60])
def test_bright_and_dark_discs_are_found(contrast):
    found = seen(contrast)
    assert found.held_out.counts.f1 == 1
    assert found.held_out.dice > 0.85
    assert (found.dark, found.channel) == (contrast < 0, None)
    assert found.diameter_nm == pytest.approx(18, abs=1)


def test_objects_that_do_not_differ_are_not_found():
    assert seen(0).held_out.counts.f1 < 0.2


def test_centres_have_no_dice():
    assert seen(60, head="centres").held_out.dice is None


def test_of_several_channels_the_one_that_shows_the_objects_is_used():
    volume, examples, boxes, card, rule = scene(discs(), -60)
    noise = np.random.default_rng(3).integers(0, 255, volume.levels[0].shape).astype(np.uint8)
    array = np.stack([noise, noise, np.asarray(volume.levels[0].array), noise])
    coloured = Volume((Level(array, (1, 1, 1)),))
    found = run(untrained_job(coloured, examples, boxes, card, rule))
    assert (found.channel, found.dark, found.held_out.counts.f1) == (2, True, 1)
    channel = one_channel(coloured, 2).levels[0]
    np.testing.assert_array_equal(channel.read(channel.box), array[2])
    assert one_channel(volume, 2) is volume


@pytest.mark.parametrize(("labelled", "hits", "asked"), [(FEW - 1, 9, True), (FEW, 9, False), (FEW, 4, True)])
def test_it_is_asked_only_where_training_may_have_had_too_little(labelled, hits, asked):
    examples = scene(discs(), 60)[1]
    examples = replace(examples, centres_nm=examples.centres_nm[:labelled])
    assert doubtful(examples, HeldOut(np.arange(10) < hits, 0, 0, 4)) is asked
    assert not doubtful(examples, None)


def test_it_survives_being_saved():
    found = Untrained(12.5, True, 1, HeldOut(np.arange(5) < 2, 0, 3, 4, dice=0.5))
    again = Untrained.from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert again.options == "diameter_nm=12.5 dark=true"
    assert Untrained(16234.0, False, None, found.held_out).options == "diameter_nm=16200"  # no exponent
    assert Untrained(1234567.0, False, None, found.held_out).options == "diameter_nm=1230000"
