"""A translation that follows the view is that of `translate` there, and `translate` goes on from it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.compute.live.mosaic import Blocks
from napari_connecto.core.geometry import Box
from napari_connecto.workflows.xray.live import LiveTranslation
from napari_connecto.workflows.xray.translate import translate
from napari_connecto.workflows.xray.translate_params import TranslateParams
from tests.live_parts import watch, whole
from tests.translate_parts import untrained, xray

VIEW, PARAMS = Box((0, 0, 0), (1, 10, 10)), TranslateParams()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """X-ray of several tiles, an untrained translator, and the translation of all of it."""
    volume, translator = xray(), untrained()
    out = tmp_path_factory.mktemp("live") / "right"
    return volume, translator, translate(volume, translator, PARAMS, out=out)


def read(volume):
    return volume.levels[0].read(volume.levels[0].box)


def test_a_view_shows_the_mean_and_the_total_uncertainty_of_translate(made, tmp_path):
    """Shown to half precision, stored exactly; NaN where the view did not reach."""
    volume, translator, right = made
    work = LiveTranslation(volume, translator, PARAMS, tmp_path / "live", Blocks())
    watch(work, VIEW)
    mean, sd = (whole(picture) for picture in work.pictures)
    seen = np.isfinite(mean)
    assert 0 < seen.mean() < 1
    np.testing.assert_array_equal(np.isfinite(sd), seen)
    np.testing.assert_allclose(mean[seen], read(right.mean)[seen], atol=1e-3)
    total = np.hypot(read(right.aleatoric), read(right.epistemic))
    np.testing.assert_allclose(sd[seen], total[seen], rtol=1e-3, atol=1e-4)
    for name in ("mean", "aleatoric", "epistemic"):
        stored = work._store.volume(name)
        np.testing.assert_array_equal(read(stored)[seen], read(getattr(right, name))[seen])


def test_the_first_pass_comes_before_the_uncertainty(made, tmp_path):
    """Order: one pass of every tile in view, then all passes; a tile that is stored needs no first pass."""
    volume, translator, _ = made
    calls = []
    work = LiveTranslation(volume, translator, PARAMS, tmp_path / "live", Blocks())
    work.threads = 1
    compute = work.compute

    def noting(keys):
        calls.extend(keys)
        return compute(keys)

    work.compute = noting
    watch(work, VIEW)
    names = [name for name, _ in calls]
    assert names == sorted(names, key=["first pass", "mean"].index)
    assert len(calls) == len(set(calls)) == 2 * len({index for _, index in calls})
    calls.clear()
    again = LiveTranslation(volume, translator, PARAMS, tmp_path / "live", Blocks())
    again.compute, compute = noting, again.compute
    watch(again, VIEW)
    assert {name for name, _ in calls} == {"mean"}
    np.testing.assert_array_equal(whole(again.pictures[0]), whole(work.pictures[0]))


def test_translate_goes_on_from_a_live_view(made, tmp_path, monkeypatch):
    """The folder is that of the translation: its tiles are not computed again, and the result is the same."""
    volume, translator, right = made
    work = LiveTranslation(volume, translator, PARAMS, tmp_path / "live", Blocks())
    watch(work, Box.of(volume.levels[0].shape))
    monkeypatch.setattr(
        "napari_connecto.models.inference.mixture.Mixture.__call__", lambda *_: pytest.fail("a network was called")
    )
    whole_of_it = translate(volume, translator, PARAMS, out=tmp_path / "live")
    np.testing.assert_array_equal(read(whole_of_it.mean), read(right.mean))
    np.testing.assert_array_equal(read(whole_of_it.epistemic), read(right.epistemic))


def test_a_single_pass_has_no_first_one(made, tmp_path):
    volume, translator, _ = made
    work = LiveTranslation(volume, translator, TranslateParams(uncertainty="single"), tmp_path / "live", Blocks())
    assert {name for name, _ in work.order(VIEW)} == {"mean"}
    work.close()
