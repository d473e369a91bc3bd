"""Models of bioimage.io: shown before the download, downloaded once and whole, checked, and then in the library."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
import yaml

import napari_connecto as nc
from napari_connecto.core.errors import Cancelled, ConnectoError, InputError, ModelError, StoreError
from napari_connecto.core.settings import settings
from napari_connecto.io.packages.collection import VARIABLE
from napari_connecto.models.files import load_model
from napari_connecto.workflows.packages.add_model import add_model, collected_job, offered
from napari_connecto.workflows.shared.library import library_models, user_library
from tests import collection, packages

pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")
NAME = "bioimage.io:tiny-fly"


@pytest.fixture(scope="module")
def made():
    return collection.published(collection.dark(8.0))


@pytest.fixture
def server(made, tmp_path, monkeypatch):
    """The collection with one model, a cache and a library of the test's own."""
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path / "cache"))
    with collection.served({"tiny-fly": dict(made)}) as found:
        monkeypatch.setenv(VARIABLE, found.pattern)
        yield found


def names(server):
    return [path.rpartition("/")[2] for path, _ in server.asked if path.startswith("/storage/")]


def test_size_licence_and_citation_are_shown_before_anything_large_is_read(server, made):
    seen = []
    with pytest.raises(Cancelled, match=r"'bioimage.io:tiny-fly' was not downloaded"):
        add_model(NAME, confirm=lambda listed: seen.append(listed))
    text = "\n".join(seen[0].lines())
    size = sum(len(made[name]) for name in ("weights.pt", "in.npy", "out.npy"))
    assert seen[0].size == size
    for told in ("tiny membranes", "version 1.2", f"{size / 1000:.3g} kB", "licence: MIT", "10.1000/xyz123"):
        assert told in text
    assert set(names(server)) == {"rdf.yaml"}


def test_an_added_model_is_in_the_user_s_library_and_gives_what_its_package_does(server, made):
    folder = add_model(NAME)
    assert folder == user_library() / "tiny-fly"
    assert library_models()["tiny-fly"] == folder
    assert "fly-medulla" in library_models()  # beside the shipped ones
    model = load_model(folder, device="cpu")
    assert (model.card.task, model.card.outputs[0].name, model.card.licence) == ("boundary", "boundary", "MIT")
    assert "10.1000/xyz123" in model.card.training
    image = np.asarray(packages.scaled(packages.image()))
    got = model(image[:, :, None], [0])["boundary"]
    np.testing.assert_allclose(got[:, 0], np.load(_file(made["out.npy"]))[:, 0], atol=1e-5)
    assert sorted(names(server)) == ["in.npy", "out.npy", "rdf.yaml", "weights.pt"]  # not the rest of the package


def test_one_of_several_outputs_is_used_as_the_boundary(server):
    made = collection.dark(8.0, outputs=("inside", "rim"))
    server.models["tiny-fly"] = collection.published(made)
    with pytest.raises(InputError, match="gives inside, rim; say which is the probability of a boundary"):
        add_model(NAME)
    assert set(names(server)) == {"rdf.yaml"}
    with pytest.raises(ModelError, match="got the output 'edge'; the model gives inside, rim"):
        add_model(NAME, boundary="edge")
    model = load_model(add_model(NAME, boundary="rim"), device="cpu")
    assert [output.name for output in model.card.outputs] == ["boundary"]
    got = model(np.asarray(packages.scaled(packages.image()))[:, :, None], [0])
    np.testing.assert_allclose(got["boundary"][:, 0], np.load(_file(made["out.npy"]))[:, 1], atol=1e-5)


def test_an_output_that_is_no_probability_is_refused(server):
    made = collection.dark(8.0)
    raw = yaml.safe_load(made["rdf.yaml"])
    raw["outputs"][0]["postprocessing"] = [{"id": "sigmoid"}, {"id": "scale_linear", "kwargs": {"gain": 255.0}}]
    out = packages.npy(np.load(_file(made["out.npy"])) * 255)
    server.models["tiny-fly"] = collection.published({**made, "rdf.yaml": yaml.safe_dump(raw).encode(), "out.npy": out})
    with pytest.raises(ModelError, match="that is no probability"):
        add_model(NAME)
    assert not (user_library() / "tiny-fly").exists()


def test_a_list_of_files_without_numbers_is_one_line(server, monkeypatch):
    listed = [{"type": "file", "name": "weights.pt", "size": float("inf")}]
    monkeypatch.setattr(collection, "_listed", lambda files, folder: listed)
    with pytest.raises(ModelError, match="does not list files as the collection does"):
        offered(NAME)


def test_what_a_description_says_cannot_steer_the_terminal(server, made):
    raw = yaml.safe_load(made["rdf.yaml"])
    raw["description"] = "dark\x1b]0;owned\x07 membranes \x1b[2J"
    server.models["tiny-fly"] = {**made, "rdf.yaml": yaml.safe_dump(raw).encode()}
    text = "".join(offered(NAME).lines())
    assert "dark]0;owned membranes [2J" in text
    assert text.isprintable()


@pytest.mark.parametrize("whole", [False, True])
def test_a_download_that_breaks_off_is_continued(server, made, whole):
    """From where it broke off; a server that knows no ranges sends all of it again."""
    half = len(made["weights.pt"]) // 2
    server.cut, server.whole = [half], whole
    with pytest.raises(InputError, match=f"broke off after {half} of .* run the command again to resume"):
        add_model(NAME)
    assert not (user_library() / "tiny-fly").exists()
    load_model(add_model(NAME), device="cpu")
    ranges = [asked for path, asked in server.asked if path.startswith("/storage/") and path.endswith("weights.pt")]
    assert ranges == ["", f"bytes={half}-"]
    assert not list(settings().cache.rglob("*.part"))


@pytest.mark.parametrize("change", ["other", "longer"])
def test_a_file_that_is_not_the_stated_one_is_deleted(server, made, change):
    data = made["weights.pt"]
    raw = collection.published(collection.dark(8.0))
    server.models["tiny-fly"]["rdf.yaml"] = raw["rdf.yaml"]
    server.models["tiny-fly"]["weights.pt"] = data[:-1] + bytes([data[-1] ^ 1]) if change == "other" else data + b"0"
    with pytest.raises(ModelError, match="has another SHA-256 than stated; it was deleted"):
        add_model(NAME)
    assert not (user_library() / "tiny-fly").exists()
    assert not list(settings().cache.rglob("weights.pt*"))


def test_what_the_collection_sends_beyond_the_listed_size_is_not_kept(server, monkeypatch):
    listed = offered(NAME)
    server.models["tiny-fly"]["weights.pt"] += b"0" * 100_000
    with pytest.raises(ModelError, match=r"has more than the .* bytes stated; it was deleted"):
        nc.run(collected_job(listed))
    assert not list(settings().cache.rglob("weights.pt*"))


@pytest.mark.parametrize(
    ("document", "kind", "said"),
    [
        ({"weights": {"torchscript": {"source": "../w.pt", "pytorch_version": "2.0"}}}, ModelError, "outside the pack"),
        ({"weights": {"torchscript": {"source": "w.pt", "pytorch_version": "2.0"}}}, ModelError, "has no file 'w.pt'"),
        ({"weights": {"keras_hdf5": {"source": "w.h5"}}}, ModelError, "has weights as keras_hdf5"),
        ({"type": "dataset"}, ModelError, "describes a dataset, not a model"),
        ({"format_version": "0.3.2"}, ModelError, "has format 0.3.2; allowed: 0.4, 0.5"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_the_download(server, document, kind, said):
    server.models["tiny-fly"]["rdf.yaml"] = yaml.safe_dump(packages.rdf5(**document)).encode()
    with pytest.raises(kind, match=said) as caught:
        add_model(NAME)
    assert "\n" not in str(caught.value)
    assert set(names(server)) == {"rdf.yaml"}


def test_a_huge_model_and_a_huge_description_are_refused(server, monkeypatch):
    from napari_connecto.io.packages import collection as home

    with monkeypatch.context() as patch:
        patch.setattr(home, "MAX_BYTES", 1000)
        with pytest.raises(ModelError, match="allowed are 1 kB"):
            offered(NAME)
    server.models["tiny-fly"]["rdf.yaml"] = b"a: " + b"x" * 300_000
    with pytest.raises(ModelError, match="holds more than the 262144 bytes"):
        offered(NAME)


def test_names_that_are_none_are_one_line(server):
    for source, said in (
        ("tiny-fly", "give bioimage.io:NAME"),
        ("bioimage.io:../secret", "give the name of a model"),
        ("bioimage.io:no-such-fly", "bioimage.io has no model 'no-such-fly'"),
    ):
        with pytest.raises(InputError, match=said):
            offered(source)
    assert [path for path, _ in server.asked] == ["/bioimage-io/artifacts/no-such-fly/files/rdf.yaml"]


def test_a_voxel_size_that_is_not_stated_has_to_be_given_before_the_download(server):
    server.models["tiny-fly"] = collection.published(collection.dark(None))
    with pytest.raises(InputError, match=r"states no voxel size.*--voxel-nm Z Y X"):
        offered(NAME)
    folder = add_model(NAME, voxel_nm=(40, 4, 4))
    assert load_model(folder, device="cpu").card.voxel_nm == (40, 4, 4)


def test_a_model_of_the_same_name_is_kept(server):
    add_model(NAME)
    before = json.loads((user_library() / "tiny-fly/card.json").read_text())
    with pytest.raises(StoreError, match="has a model 'tiny-fly' already"):
        add_model(NAME)
    assert json.loads((user_library() / "tiny-fly/card.json").read_text()) == before


def test_offline_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "http://127.0.0.1:9/{bioimageio_id}/files/rdf.yaml")  # nothing listens there
    with pytest.raises(ConnectoError, match=r"cannot reach 'http://127.0.0.1:9/tiny-fly/files/rdf.yaml'") as caught:
        add_model(NAME)
    assert "\n" not in str(caught.value)
    assert "check the connection" in str(caught.value)


def _file(data: bytes):
    return BytesIO(data)
