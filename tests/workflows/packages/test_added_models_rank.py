"""Models of bioimage.io from the collection to the ranking and the segments, from the shell."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto import cli
from napari_connecto.io.packages.collection import VARIABLE
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.packages.export_model import export_model
from tests import collection

pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")
QUICK = ("--places", "2", "--place", "128", "--patches", "16", "--progress", "none")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A shipped model as `bioimageio.spec` writes its package, and two of other makers."""
    path = export_model("synthetic-neuropil", tmp_path_factory.mktemp("export") / "model.zip")
    with zipfile.ZipFile(path) as archive:
        copy = {name: archive.read(name) for name in archive.namelist()}
    return {
        "shipped-copy": copy,
        "tiny-fly": collection.published(collection.dark(8.0)),
        "two-rims": collection.published(collection.dark(8.0, 12.0, ("inside", "rim"))),
    }


@pytest.fixture
def shell(models, tmp_path, monkeypatch):
    """A command line whose user has an empty library, and the collection at hand."""
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path / "cache"))

    def invoke(*words, answer=None, code=0):
        got = CliRunner().invoke(cli.cli, [str(word) for word in words], input=answer, catch_exceptions=code == 0)
        assert got.exit_code == code, got.output
        return got.output

    with collection.served(models) as server:
        monkeypatch.setenv(VARIABLE, server.pattern)
        yield invoke


@pytest.mark.slow
def test_added_models_are_ranked_beside_the_shipped_ones_and_segment_by_name(shell, tmp_path):
    """The copy of a shipped model answers as that one does: nobody else's segments are as near to its own."""
    save_volume(phantom("neuropil", (8, 160, 160), seed=5).image, tmp_path / "em.ome.zarr", levels=1)
    told = shell("domains", "add", "bioimage.io:shipped-copy", "--progress", "none", answer="y\n")
    assert told.index("licence: MIT") < told.index("download?") < told.index("test tensors reproduced")
    shell("domains", "add", "bioimage.io:tiny-fly", "--yes", "--progress", "none")
    shell("domains", "add", "bioimage.io:two-rims", "--boundary", "rim", "--yes", "--progress", "none")
    listed = shell("domains", "list")
    assert all(name in listed for name in ("fly-medulla:", "shipped-copy:", "tiny-fly: tiny membranes", "10.1000/xyz"))

    told = shell("rank", tmp_path / "em.ome.zarr", "--out", tmp_path / "ranking", *QUICK)
    ranks = {row["name"]: row for row in json.loads((tmp_path / "ranking/ranking.json").read_text())["ranks"]}
    assert {"synthetic-neuropil", "fly-medulla", "shipped-copy", "tiny-fly", "two-rims"} <= set(ranks)
    assert all(ranks[name]["consensus"] is not None for name in ("synthetic-neuropil", "shipped-copy", "tiny-fly"))
    assert ranks["shipped-copy"]["mmd2"] is None  # it brings no sample of its training data
    copy, own = ranks["shipped-copy"], ranks["synthetic-neuropil"]
    assert copy["instability"]["value"] == pytest.approx(own["instability"]["value"], abs=0.02)
    assert max(copy["consensus"]["value"], own["consensus"]["value"]) < 0.1 + min(
        row["consensus"]["value"] for row in ranks.values() if row["consensus"] is not None
    )

    quick = ("--mode", "2d", "--progress", "none")
    both = []
    for name in ("shipped-copy", "synthetic-neuropil"):
        shell("segment", tmp_path / "em.ome.zarr", "--model", name, "--out", tmp_path / name, *quick)
        labels = open_volume(tmp_path / name / "labels/labels.zarr").levels[0]
        both.append(np.asarray(labels.read(labels.box)) > 0)
    assert (both[0] == both[1]).mean() > 0.99
    rim = shell("segment", tmp_path / "em.ome.zarr", "--model", "two-rims", "--out", tmp_path / "rim", *quick)
    assert "segments" in rim


def test_a_model_is_not_downloaded_without_a_yes(shell, tmp_path):
    shell("domains", "add", "bioimage.io:tiny-fly", answer="n\n", code=1)
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "cache").rglob("weights.pt*"))
