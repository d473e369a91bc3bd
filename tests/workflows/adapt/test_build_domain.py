"""Domains of published data by torch_em's loaders: shown first, downloaded once and whole, then trained."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import shutil
import sys
import textwrap
import time
from dataclasses import replace
from threading import Event

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import napari_connecto as nc
from napari_connecto import cli
from napari_connecto.core.errors import ConnectoError, InputError, ModelError, StoreError
from napari_connecto.models.datasets import loaders
from napari_connecto.models.datasets.apart import load_job
from napari_connecto.models.datasets.stage import STAGE
from napari_connecto.models.datasets.table import DATASETS
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.build_domain import UNPACKING, built_job, offered_data
from napari_connecto.workflows.adapt.params import DomainParams
from napari_connecto.workflows.shared.library import library_models
from tests import collection

QUICK = DomainParams(label_kind="instances", steps=10, crop=64, batch=1, patches=12)
LOADER = '''
    """As torch_em's loader: the same names and signatures, and a file that is there is not downloaded."""
    import os
    from hashlib import sha256
    from shutil import copyfileobj
    from urllib.request import urlopen

    SNEMI_URLS = {{"train": "{address}/storage/snemi/train"}}
    CHECKSUMS = {{"train": "{sha256}"}}

    def get_snemi_paths(path, sample, download=False):
        os.makedirs(path, exist_ok=True)
        file = os.path.join(path, f"snemi_{{sample}}.h5")
        if not os.path.exists(file):
            with urlopen(SNEMI_URLS[sample]) as answer, open(file, "wb", buffering=0) as out:
                copyfileobj(answer, out, 100)
            if sha256(open(file, "rb").read()).hexdigest() != CHECKSUMS["train"]:
                raise RuntimeError("The checksum of the download does not match the expected checksum")
        return file
'''


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A labelled volume as snemi's file has it."""
    made, path = phantom("neuropil", (16, 160, 160), seed=4), tmp_path_factory.mktemp("snemi") / "train.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = np.asarray(made.image.levels[0].array)
        file["volumes/labels/neuron_ids"] = np.asarray(made.truth["neurons"].levels[0].array)
    return path.read_bytes()


@pytest.fixture
def server(volume, tmp_path, monkeypatch):
    """The data's server, a torch_em with one loader, and a user without results."""
    real = set_aside()
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path / "results"))
    folder = tmp_path / "site" / "torch_em/data/datasets/electron_microscopy"
    folder.mkdir(parents=True)
    for parent in [folder, *folder.parents][:4]:
        (parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    with collection.served({"snemi": {"train": volume}}) as found:
        sha256 = hashlib.sha256(volume).hexdigest()
        (folder / "snemi.py").write_text(textwrap.dedent(LOADER.format(address=found.address, sha256=sha256)))
        importlib.invalidate_caches()
        yield found
    set_aside()
    sys.modules.update(real)


def set_aside():
    """The modules of torch_em, which is then not loaded any more."""
    return {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "torch_em"}


def downloads(server):
    return [asked for path, asked in server.asked if path == "/storage/snemi/train"]


def test_size_licence_and_citation_are_shown_before_the_download(server, volume, tmp_path):
    offer = offered_data("torch_em:snemi")
    text = "\n".join(offer.lines())
    for told in (f"{len(volume) / 1e6:.3g} MB", "images ODC-By 1.0", "10.1016/j.cell.2015.06.054", "30 x 6 x 6 nm"):
        assert told in text
    assert not (tmp_path / "results").exists()


def test_nothing_is_downloaded_without_a_yes(server, tmp_path):
    got = CliRunner().invoke(cli.cli, ["domains", "build", "--from", "torch_em:snemi"], input="n\n")
    assert got.exit_code == 1
    assert got.output.index("licence: images ODC-By 1.0") < got.output.index("download and train?")
    assert len(downloads(server)) == 1  # its size was asked for
    assert not (tmp_path / "results").exists()


def test_a_data_set_becomes_a_domain_that_is_ranked(server, tmp_path):
    """The download that breaks off is continued; what is there is not downloaded again."""
    server.cut = [1000]
    offer = offered_data("torch_em:snemi")
    with pytest.raises(InputError, match=r"broke off after 1000 of .* run the command again to resume"):
        nc.run(built_job(offer, params=QUICK))
    assert "snemi" not in library_models()
    domain = nc.run(built_job(offered_data("torch_em:snemi"), params=QUICK))
    assert downloads(server)[-1] == "bytes=1000-"
    assert domain.folder == tmp_path / "results/library/snemi" == library_models()["snemi"]
    assert domain.card.voxel_nm == (30.0, 6.0, 6.0)
    assert domain.about["organism"] == "Mus musculus"
    assert "10.1016/j.cell.2015.06.054" in domain.card.training
    assert domain.card.licence == "images ODC-By 1.0"
    assert 0 < domain.card.metrics["vi"] < 20
    with pytest.raises(StoreError, match="has 'snemi' already"):
        offered_data("torch_em:snemi")
    asked = len(downloads(server))
    assert "nothing, the data are already there" in offered_data("torch_em:snemi", tmp_path / "other").lines()[1]
    assert len(downloads(server)) == asked
    listed = CliRunner().invoke(cli.cli, ["domains", "list"], catch_exceptions=False).output
    assert "snemi: ATUM-SEM of somatosensory cortex (Mus musculus), 30 x 6 x 6 nm" in listed


@pytest.fixture
def half(server, tmp_path):
    """A job whose loader has downloaded a part of its file, and waits for the rest."""
    server.held = Event()
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mine.txt").write_text("from before")
    job = load_job(DATASETS["snemi"], folder)
    for _ in job:
        file = folder / STAGE / "snemi_train.h5"
        if file.is_file() and file.stat().st_size == 1000:
            break
    yield job, folder
    server.held.set()
    job.close()


def test_a_loader_is_cancelled_within_a_second_and_leaves_nothing_half_done(server, volume, half):
    """Law: closed, the job is over at once; what was there stays, what is half there goes; the next run has all."""
    job, folder = half
    begin = time.monotonic()
    next(job)
    job.close()
    assert time.monotonic() - begin < 1
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    server.held.set()
    image, labels = nc.run(load_job(DATASETS["snemi"], folder))
    assert image == labels == folder / "snemi_train.h5"
    assert image.read_bytes() == volume
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "snemi_train.h5"]


def killed(folder, half):
    """The folder of a build that was killed while its loader wrote a file."""
    (folder / STAGE).mkdir(parents=True)
    (folder / STAGE / "snemi_train.h5").write_bytes(half)


def loaded(offer, tmp_path):
    """Build until the data are there."""
    job = built_job(replace(offer, sizes=(0,)), tmp_path / "library", QUICK)  # the file is left to the loader
    for report in job:
        if report.stage != UNPACKING:
            break
    job.close()
    return sorted(path.name for path in offer.folder.iterdir())


def test_what_a_killed_run_left_half_done_is_not_believed(server, volume, tmp_path):
    """Law: neither the offer nor the job takes the file for whole."""
    offer = offered_data("torch_em:snemi", data=tmp_path)
    killed(offer.folder, volume[:1000])
    again = offered_data("torch_em:snemi", data=tmp_path)
    assert (again.sizes, again.lines()[1]) == (offer.sizes, offer.lines()[1])
    assert loaded(again, tmp_path) == [".lock", "snemi_train.h5"]
    assert (offer.folder / "snemi_train.h5").read_bytes() == volume


def test_a_file_that_was_put_there_after_a_killed_run_is_kept(server, volume, tmp_path):
    """Law: only what a loader made in its own folder is deleted; what the user downloaded by hand is used."""
    offer = offered_data("torch_em:snemi", data=tmp_path)
    killed(offer.folder, volume[:1000])
    (offer.folder / "snemi_train.h5").write_bytes(volume)
    (offer.folder / "mine.txt").write_text("mine")
    asked = len(downloads(server))
    assert loaded(offered_data("torch_em:snemi", data=tmp_path), tmp_path) == [".lock", "mine.txt", "snemi_train.h5"]
    assert (offer.folder / "snemi_train.h5").read_bytes() == volume
    assert len(downloads(server)) == asked


def test_a_copy_of_an_interrupted_folder_keeps_its_data(server, volume, tmp_path):
    """Law: times say nothing of what is deleted."""
    first = offered_data("torch_em:snemi", data=tmp_path / "first")
    killed(first.folder, volume[:1000])
    (first.folder / "sub").mkdir()
    (first.folder / "sub/old.h5").write_bytes(b"whole")
    shutil.copytree(first.folder, tmp_path / "second/snemi", copy_function=shutil.copyfile)
    os.utime(tmp_path / "second/snemi/sub/old.h5", (1, 1))
    second = offered_data("torch_em:snemi", data=tmp_path / "second")
    assert loaded(second, tmp_path) == [".lock", "snemi_train.h5", "sub"]
    assert (second.folder / "sub/old.h5").read_bytes() == b"whole"
    assert (second.folder / "sub/old.h5").stat().st_mtime == 1


def test_one_build_at_a_time_works_in_a_folder(server, volume, tmp_path):
    """Law: the second one refuses in a line and touches nothing; the first one ends well; then there is room."""
    server.held = Event()
    offer = replace(offered_data("torch_em:snemi", data=tmp_path), sizes=(0,))
    job, half = built_job(offer, tmp_path / "library", QUICK), offer.folder / STAGE / "snemi_train.h5"
    for _ in job:
        if half.is_file() and half.stat().st_size == 1000:
            break
    with pytest.raises(StoreError, match=r"snemi' is in use by another process; wait for it") as caught:
        nc.run(built_job(offer, tmp_path / "library", QUICK))
    assert "\n" not in str(caught.value)
    assert half.read_bytes() == volume[:1000]
    server.held.set()
    for report in job:
        if report.stage != UNPACKING:
            break
    assert (offer.folder / "snemi_train.h5").read_bytes() == volume
    job.close()
    later = built_job(offer, tmp_path / "library", QUICK)
    assert next(later).stage == UNPACKING
    later.close()


def test_errors_of_a_loader_come_through_as_they_are(server, tmp_path):
    """Law: in a process of its own, a loader fails with the same class and one line; half a file goes then too."""
    server.cut = [1000]
    with pytest.raises(
        InputError, match=r"cannot get 'snemi' \(The checksum of .*\); check the connection and run the command again"
    ):
        nc.run(load_job(DATASETS["snemi"], tmp_path / "data"))
    assert not list((tmp_path / "data").iterdir())
    with pytest.raises(ModelError, match="torch_em's loader of 'isbi2012' has changed"):
        nc.run(load_job(DATASETS["isbi2012"], tmp_path / "data"))


def test_another_file_than_the_loader_states_is_deleted(server, volume, tmp_path):
    server.models["snemi"]["train"] = volume[:-1] + bytes([volume[-1] ^ 1])
    with pytest.raises(ModelError, match="has another SHA-256 than stated; it was deleted"):
        nc.run(built_job(offered_data("torch_em:snemi"), params=QUICK))
    assert not list((tmp_path / "results").rglob("snemi_train.h5*"))


def test_what_cannot_be_built_is_one_line(server, tmp_path, monkeypatch):
    for source, said in (
        ("snemi", "give torch_em:NAME"),
        ("torch_em:moon", "got the data set 'moon'; there are: isbi2012, snemi"),
        ("torch_em:isbi2012", "torch_em's loader of 'isbi2012' has changed"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            offered_data(source)
        assert "\n" not in str(caught.value)


def test_offline_is_one_line(server):
    module = loaders._module(DATASETS["snemi"])
    module.SNEMI_URLS["train"] = "http://127.0.0.1:9/train"  # nothing listens there
    with pytest.raises(ConnectoError, match=r"cannot reach 'http://127.0.0.1:9/train' .*check the connection"):
        offered_data("torch_em:snemi")


def test_without_torch_em_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_RESULTS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch_em", None)
    with pytest.raises(InputError, match=r"need the extra 'torch-em' .*pip install 'napari-connecto\[torch-em\]'"):
        offered_data("torch_em:snemi")


def test_the_table_is_listed_with_terms_and_citations():
    listed = CliRunner().invoke(cli.cli, ["domains", "sources"], catch_exceptions=False).output
    for name, data in DATASETS.items():
        assert f"torch_em:{name}: " in listed
        assert data.citation in listed
        assert "http" in data.citation
        assert all(1 < v < 100 for v in data.voxel_nm)
        assert bool(data.parts) != (data.block is not None)  # a download, or a block of a larger volume


@pytest.mark.parametrize("name", DATASETS)
def test_the_real_loaders_have_the_names_and_signatures_of_the_table(name):
    pytest.importorskip("torch_em", reason="the extra 'torch-em' is not installed")
    data = DATASETS[name]
    function = getattr(importlib.import_module(f"{loaders.PACKAGE}.{data.module}"), data.function)
    inspect.signature(function).bind("folder", download=True, **data.arguments)
    found = loaders.sources(data)
    assert [source.name for source in found] == [part.name for part in data.parts]
    assert all(source.address.startswith("https://") for source in found)
    assert all(len(source.sha256) == 64 for source in found)
