"""What a user sets: environment before file before default; nonsense is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.core.settings import config_file, settings


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("NAPARI_CONNECTO_RESULTS")
    (tmp_path / "config.toml").touch()
    return tmp_path / "config.toml"


def test_defaults(file, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setattr("sys.platform", "linux")
    now = settings()
    assert (now.device, now.threads, now.cache_gb) == ("auto", 0, 5.0)
    assert (now.cache, now.results) == (Path("/x/napari-connecto"), Path.home() / "napari-connecto")


def test_the_environment_goes_before_the_file(file, monkeypatch):
    file.write_text('device = "cpu"\nthreads = 3\ncache = "~/there"\ncache_gb = 0.5\nresults = "/big"\n')
    now = settings()
    assert (now.device, now.threads, now.cache_gb) == ("cpu", 3, 0.5)
    assert (now.cache, now.results) == (Path.home() / "there", Path("/big"))
    monkeypatch.setenv("NAPARI_CONNECTO_THREADS", "7")
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE_GB", "2e1")
    monkeypatch.setenv("NAPARI_CONNECTO_DEVICE", "")
    assert (settings().device, settings().threads, settings().cache_gb) == ("cpu", 7, 20.0)


def test_where_the_file_lies(monkeypatch):
    monkeypatch.delenv("NAPARI_CONNECTO_CONFIG")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert config_file() == Path("/x/napari-connecto/config.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device = ", "cannot read the settings in .*config.toml"),
        ("colour = 3", "got settings colour in .*; allowed: device, threads, cache, cache_gb, results"),
        ("threads = -1", r"got threads = -1; allowed: 0 to 4096 \(NAPARI_CONNECTO_THREADS or"),
        ('cache_gb = "big"', "got cache_gb = 'big'; allowed: 0 to 1e"),
        ("cache_gb = nan", "got cache_gb = nan; allowed"),
    ],
)
def test_nonsense_is_refused(file, text, said):
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        settings()


def test_an_unknown_name_in_the_environment_is_refused(monkeypatch):
    for fine in ("DATA", "TUTORIALS", "RESULTS"):
        monkeypatch.setenv(f"NAPARI_CONNECTO_{fine}", "1")
    settings()
    monkeypatch.setenv("NAPARI_CONNECTO_TREADS", "4")
    said = "got NAPARI_CONNECTO_TREADS in the environment; allowed after NAPARI_CONNECTO_: DEVICE, .*CONFIG"
    with pytest.raises(InputError, match=said):
        settings()


def test_a_file_that_is_named_has_to_be_there(file):
    file.unlink()
    with pytest.raises(InputError, match=r"no settings file at '.*config.toml'; correct or unset .*_CONFIG"):
        settings()


def test_the_usual_file_may_be_absent(tmp_path, monkeypatch):
    monkeypatch.delenv("NAPARI_CONNECTO_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    assert settings().threads == 0
