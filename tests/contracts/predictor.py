"""What every `Predictor` must hold: subclass `PredictorContract` and say which predictor."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from napari_connecto.core.model import Predictor


class PredictorContract:
    """Give a fixture ``predictor``; every test here must pass for it, bit for bit."""

    @pytest.fixture
    def predictor(self) -> Predictor:
        raise NotImplementedError

    @pytest.fixture
    def batch(self, predictor: Predictor) -> np.ndarray:
        card = predictor.card
        shape = tuple(t + 2 * h for t, h in zip(card.tile, card.halo, strict=True))
        return np.random.default_rng(0).random((3, card.channels, *shape), np.float32)

    def test_follows_the_protocol(self, predictor: Predictor) -> None:
        assert isinstance(predictor, Predictor)

    def test_gives_the_outputs_of_its_card(self, predictor: Predictor, batch: np.ndarray) -> None:
        answer = predictor(batch, [0, 1, 2])
        assert set(answer) == {output.name for output in predictor.card.outputs}
        for output in predictor.card.outputs:
            want = [(n - 2 * t) / s for n, t, s in zip(batch.shape[2:], output.trimmed, output.stride, strict=True)]
            assert answer[output.name].shape == (3, *want)
            assert answer[output.name].dtype == np.float32
            assert np.isfinite(answer[output.name]).all()

    def test_repeats_itself(self, predictor: Predictor, batch: np.ndarray) -> None:
        first, second = predictor(batch, [5, 6, 7]), predictor(batch, [5, 6, 7])
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])

    def test_the_place_in_a_batch_does_not_matter(self, predictor: Predictor, batch: np.ndarray) -> None:
        straight, turned = predictor(batch, [5, 6, 7]), predictor(batch[::-1], [7, 6, 5])
        for name in straight:
            np.testing.assert_array_equal(straight[name], turned[name][::-1])

    def test_neighbours_in_a_batch_do_not_matter(self, predictor: Predictor, batch: np.ndarray) -> None:
        alone = predictor(np.stack([batch[0], 0 * batch[1], 1 - batch[2]]), [5, 0, 0])
        together = predictor(batch, [5, 6, 7])
        for name in alone:
            np.testing.assert_array_equal(alone[name][0], together[name][0])

    def test_leaves_its_input_alone(self, predictor: Predictor, batch: np.ndarray) -> None:
        before = batch.copy()
        predictor(batch, [0, 1, 2])
        np.testing.assert_array_equal(batch, before)

    def test_is_the_same_in_another_process(self, predictor: Predictor, batch: np.ndarray) -> None:
        again = pickle.loads(pickle.dumps(predictor))  # noqa: S301 (just made)
        assert again.card == predictor.card
        here, there = predictor(batch, [5, 6, 7]), again(batch, [5, 6, 7])
        for name in here:
            np.testing.assert_array_equal(here[name], there[name])
