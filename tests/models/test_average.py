"""Between two models lie their weights' averages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_connecto.core.errors import ModelError
from napari_connecto.models.files import new_model
from napari_connecto.models.transfer.average import between
from tests.adapt_parts import tiny_card


def test_weights_and_statistics_lie_on_the_line():
    start, end = (new_model(tiny_card("x"), seed, device="cpu") for seed in (0, 1))
    for module in end.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean += 2
    middle = between(start, end, 0.25)
    old, new, got = (m.net.state_dict() for m in (start, end, middle))
    for name, value in got.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * old[name] + 0.25 * new[name])
    assert any(name.endswith("running_mean") and (value == 0.5).all() for name, value in got.items())
    assert middle.card.digest not in (start.card.digest, end.card.digest)


def test_at_the_ends_are_the_models_themselves():
    start, end = (new_model(tiny_card("x"), seed, device="cpu") for seed in (0, 1))
    tile = np.random.default_rng(0).random((1, 1, 1, 96, 96), np.float32)
    for share, same in ((0.0, start), (1.0, end)):
        assert between(start, end, share).card.digest == same.card.digest
        np.testing.assert_array_equal(between(start, end, share)(tile, [0])["boundary"], same(tile, [0])["boundary"])


def test_other_networks_and_shares_are_refused():
    start = new_model(tiny_card("x"), 0, device="cpu")
    wide = new_model(replace(tiny_card("wide"), network={**tiny_card("x").network, "width": 16}), 0, device="cpu")
    with pytest.raises(ModelError, match="'x' and 'wide' have different networks and cannot be averaged"):
        between(start, wide, 0.5)
    with pytest.raises(ModelError, match=r"got a share of 1.5; it goes from 0"):
        between(start, start, 1.5)
