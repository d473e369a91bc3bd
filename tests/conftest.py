"""What all tests share: one hypothesis profile, folders of their own, that of real data, and skips that say why."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from napari_connecto.core.settings import NAMES, PREFIX
from tests.once import MADE

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that fight cost more than they gain

hypothesis.settings.register_profile("project", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted networks are kept in the tests' own folder, not in the user's, whose settings are not read."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(PREFIX + name.upper(), raising=False)
        empty = tmp_path_factory.mktemp("settings") / "config.toml"
        empty.touch()
        patch.setenv(f"{PREFIX}CONFIG", str(empty))
        patch.setenv(f"{PREFIX}RESULTS", str(tmp_path_factory.mktemp("results")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        run = tmp_path_factory.getbasetemp()
        shared = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "made"
        shared.mkdir(exist_ok=True)
        patch.setenv(MADE, str(shared))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, which are not part of the project; NAPARI_CONNECTO_DATA says where they are."""
    beside = Path(__file__).resolve().parents[1] / "../shared/data"
    folder = Path(os.environ.get("NAPARI_CONNECTO_DATA", beside)).resolve()
    if not folder.is_dir():
        pytest.skip("no real data: set NAPARI_CONNECTO_DATA to its folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))  # beside other workers, and on slower machines than ours
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for item in items:
        if item.get_closest_marker("gl"):
            item.add_marker(pytest.mark.skip(reason="needs a display with OpenGL; run under xvfb-run"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is opened fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
