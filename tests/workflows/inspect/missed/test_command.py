"""``why-missed`` from files to result folder and report page; the figures are those of the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto import cli
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.inspect.missed.why_missed import why_missed
from napari_connecto.workflows.recipes.document import run_of
from napari_connecto.workflows.shared.whole import answers
from tests.workflows.inspect.missed.test_why_missed import CARD, NM


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Model, bad and good image, missed and background pixels, in files."""
    folder = tmp_path_factory.mktemp("missed")
    model = new_model(CARD, 0, device="cpu")
    save_model(model, folder / "model")
    good = np.random.default_rng(0).random((1, 32, 32), np.float32)
    bad = (good * 0.5 + 0.1).astype(np.float32)
    rise = answers(model, good)["boundary"] - answers(model, bad)["boundary"]
    arrays = {
        "bad": bad,
        "good": good,
        "missed": (rise > np.quantile(rise, 0.8)).astype(np.uint8),
        "background": (rise < np.quantile(rise, 0.2)).astype(np.uint8),
    }
    for name, array in arrays.items():
        kind = "image" if array.dtype == np.float32 else "labels"
        save_volume(Volume((Level(array, NM),), name=name, kind=kind), folder / f"{name}.ome.zarr", levels=1)
    return folder, model


def test_the_command_writes_what_the_library_says(files, tmp_path) -> None:
    folder, model = files
    paths = {name: str(folder / f"{name}.ome.zarr") for name in ("bad", "good", "missed", "background")}
    out = tmp_path / "why"
    words = ["why-missed", paths["bad"], "--model", str(folder / "model"), "--good", paths["good"]]
    words += ["--missed", paths["missed"], "--background", paths["background"], "--out", str(out), "--report"]
    words += ["--exact", "6", "--draws", "1", "--progress", "none"]
    done = CliRunner().invoke(cli.cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    volumes = {name: open_volume(path) for name, path in paths.items()}
    expected = why_missed(
        model,
        *(volumes[n] for n in ("bad", "good", "missed", "background")),
        MissedParams(exact=6, draws=1),
    )
    told = json.loads((out / "why_missed.json").read_text())
    assert told["gap"] == pytest.approx(expected.gap)
    assert [s["place"] for s in told["stages"]] == [s.place for s in expected.stages]
    assert told["total"]["top"][0]["channel"] == expected.total.top[0].channel
    assert expected.lines()[0] in done.output
    bad = open_volume(out / "maps" / "bad.ome.zarr").levels[0]
    image = np.asarray(volumes["bad"].levels[0].read(volumes["bad"].levels[0].box))
    np.testing.assert_allclose(bad.read(bad.box), answers(model, image)["boundary"], atol=2e-3)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert expected.total.top[0].name in page
    assert "Why &#39;tiny&#39; missed it" in page or "Why 'tiny' missed it" in page


def test_something_better_must_be_given(files, tmp_path) -> None:
    folder, _ = files
    asked = {
        "workflow": "why-missed",
        "volume": str(folder / "bad.ome.zarr"),
        "model": str(folder / "model"),
        "missed": str(folder / "missed.ome.zarr"),
        "background": str(folder / "background.ome.zarr"),
        "out": str(tmp_path / "why"),
    }
    with pytest.raises(InputError, match=r"got neither a better version of the image \(good\) nor a better model"):
        run(run_of(asked).job(None))
