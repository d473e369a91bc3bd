"""Any detector by its name or place: a package, a model's folder, a registered one; without a label from the shell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from napari_connecto import cli
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import ModelCard, Output
from napari_connecto.core.volume import Volume
from napari_connecto.io.serve import FolderServer
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model, save_model
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.packages.detectors import detector, options_of_text
from tests import own_detectors, packages
from tests.workflows.cascade.test_distil import discs

NM = (8.0, 8.0, 8.0)
SIDE = 48


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    own_detectors.register(monkeypatch)


def package(path, *, logits=False):
    """A network that finds what is far brighter than the rest: the mean of 3 x 3 pixels is above 3, scaled."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)).eval()
    with torch.no_grad():
        net[0].weight.fill_(4 / 9)
        net[0].bias.fill_(-12.0)
    shape = (1, 1, SIDE, SIDE)
    document = packages.rdf5(**({"after": []} if logits else {}))
    for axis in document["inputs"][0]["axes"]:
        if axis["type"] == "space":
            axis["size"] = SIDE
    x = packages.image(shape)
    y = packages.run(net, packages.scaled(x))
    out = packages.npy(y if logits else packages.sigmoid(y))
    made = packages.files(document, weights_pt=packages.script(net, shape), in_npy=packages.npy(x), out_npy=out)
    return packages.zipped(path, made)


@pytest.fixture
def image():
    """Discs in noise, bright enough for the package."""
    found, _ = discs(count=20)
    return Volume.from_array(found.levels[0].array, NM, name="discs")


@pytest.mark.slow
def test_a_package_makes_a_cascade_from_the_shell_without_a_label(tmp_path, image):
    save_volume(image, tmp_path / "image.ome.zarr")
    made = package(tmp_path / "net.zip")
    which = ("--detector", made, "--detector-shown", "as it is")
    how = ("--calls", 200, "--steps", 40, "--device", "cpu")
    told = run("train-cascade", tmp_path / "image.ome.zarr", *which, "--out", tmp_path / "c", *how)
    assert "trained on 200 calls of tiny membranes," in told
    cascade = load_cascade(tmp_path / "c", backend="torch")
    assert cascade.cards[0].outputs == (Output("object"),)
    assert cascade.cards[0].network == {"kind": "chosen", "output": "membrane", "shown": "as it is"}
    assert len(cascade.stages) > 1
    found = run("detect", tmp_path / "image.ome.zarr", "--cascade", tmp_path / "c", "--out", tmp_path / "found",
                "--audit", 20, "--backend", "torch")  # fmt: skip
    assert "objects" in found
    assert int(found.split(" objects")[0].split()[-1]) >= 12  # 20 discs, some touching
    estimate = run("detect", tmp_path / "image.ome.zarr", "--cascade", tmp_path / "c", "--out", "x", "--estimate")
    assert "exhaustive search" in estimate


def run(*words):
    """What a command that must succeed prints."""
    result = CliRunner().invoke(cli.cli, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_logits_are_told_and_shown_by_sigmoid(tmp_path, image):
    made, batch = package(tmp_path / "net.zip", logits=True), np.zeros((1, 1, 1, SIDE, SIDE), np.float32)
    with pytest.raises(ModelError, match=r"values from -12 to -12.*choose 'sigmoid'"):
        detector(made, image, shown="as it is")(batch, [0])
    found = detector(made, image, shown="sigmoid")(batch, [0])["object"]
    assert found == pytest.approx(1 / (1 + np.exp(12)))


def test_a_boundary_model_finds_what_is_inside(tmp_path, image):
    outputs = (Output("boundary"), Output("other"))
    network = {"kind": "unet", "dims": 2, "width": 2, "depth": 2, "strides": [[1, 2, 2]]}
    card = ModelCard("edges", "boundary", NM, (1, 32, 32), (0, 8, 8), outputs, network=network)
    model = new_model(card, 0, device="cpu")
    save_model(model, tmp_path / "tuned/model")
    batch = np.random.default_rng(0).random((1, 1, 1, 48, 48), np.float32)
    inside = detector(tmp_path / "tuned", image)
    assert inside.card.network == {"kind": "chosen", "output": "boundary", "shown": "inverse"}
    want = model(batch, [0])
    np.testing.assert_allclose(inside(batch, [0])["object"], 1 - want["boundary"], atol=1e-4)
    other = detector(tmp_path / "tuned", image, output="other", shown="as it is")
    np.testing.assert_allclose(other(batch, [0])["object"], want["other"], atol=1e-4)
    with pytest.raises(ModelError, match="not 'third'"):
        detector(tmp_path / "tuned", image, output="third")
    with pytest.raises(InputError, match="only registered detectors take options"):
        detector(tmp_path / "tuned", image, threshold=1)


def test_what_is_no_detector_is_told(image):
    with pytest.raises(ModelError, match=r"no detector 'blob'; give .* one of: blobs, cellpose"):
        detector("blob", image)
    with pytest.raises(InputError, match="one output"):
        detector("bright", image, shown="inverse")
    with pytest.raises(ModelError, match="https:// or http:// only"):
        detector("file:///etc/passwd", image)
    assert options_of_text("threshold=0.3, dark=true") == {"threshold": "0.3", "dark": "true"}
    with pytest.raises(InputError, match="name=value"):
        options_of_text("dark")


def test_a_package_is_fetched_from_its_address_once(tmp_path, image, monkeypatch):
    made = package(tmp_path / "net.zip")
    (tmp_path / "page.html").write_text("<html>")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with FolderServer([tmp_path]) as server:
        address = server.url(0)
        here, there = detector(made, image), detector(f"{address}net.zip", image)
        with pytest.raises(ModelError, match="is not a zip"):
            detector(f"{address}page.html", image)
        with pytest.raises(ModelError, match="cannot fetch"):
            detector(f"{address}gone.zip", image)
    assert there.card == here.card
    assert detector(f"{address}net.zip", image).card == here.card  # the server is gone
    assert len(list((tmp_path / "cache").rglob("*.zip"))) == 1


def test_the_diameter_reaches_detectors_that_have_one(image):
    assert detector("blobs", image, diameter_nm=96).card.network["options"]["diameter_nm"] == 96
    assert detector("spots", image, diameter_nm=40).card.network["diameter_nm"] == 40
    assert detector("bright", image, threshold="0.25").card.network["options"] == {"threshold": 0.25}
