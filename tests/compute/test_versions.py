"""What must be alike on a Dask cluster, and how it is said when it is not."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest

import napari_connecto
from napari_connecto.compute import cluster
from napari_connecto.compute.cluster import connect
from napari_connecto.compute.versions import ALIKE, OURS, check_own, check_versions, own_version
from napari_connecto.core.errors import ClusterError

PYTHON = ".".join(map(str, sys.version_info[:3]))


def answer(**changed):
    """What Dask's "versions" says of a process like this one, but for what was changed."""
    packages = {name: version(name) for name in ("dask", "distributed", "numpy")}
    packages |= {name: text for name, text in changed.items() if name != "python"}
    return {"host": {"python": f"{changed.get('python', PYTHON)}.final.0"}, "packages": packages}


def test_the_same_versions_pass_and_a_scheduler_needs_less():
    month = ".".join(version("distributed").split(".")[:2])
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}.99"
    check_versions(answer(), {"a": answer(), "b": answer(python=minor, distributed=f"{month}.99", numpy="2.99.0")})
    check_versions(answer(numpy=None), {"a": answer()})
    check_versions(None, {})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"python": "3.9.1"},
            "Python 3.9.1, this process has .*; start scheduler and workers in an environment with",
        ),
        (
            {"distributed": "2024.8.0"},
            r'distributed 2024.8.0, this process has .* pip install "distributed==\d+.\d+.\*"',
        ),
        ({"dask": None}, 'no dask, this process has .* pip install "dask=='),
        ({"numpy": "1.26.4"}, "numpy 1.26.4, this process has"),
    ],
)
def test_a_worker_that_differs_is_named_with_what_to_do(changed, said):
    workers = {f"tcp://w{n}:1": answer(**(changed if n else {})) for n in range(4)}
    with pytest.raises(
        ClusterError, match=rf"^3 of 4 Dask workers \(tcp://w1:1, tcp://w2:1, ...\) have {said}"
    ) as error:
        check_versions(answer(), workers)
    assert "\n" not in str(error.value)


def test_workers_run_this_very_package():
    here = napari_connecto.__version__
    check_own({"a": own_version(), "b": f"{here.partition('+')[0]}+local"})
    for there, said in ((ModuleNotFoundError("No module"), "no napari-connecto"), ("0.0.1", "napari-connecto 0.0.1")):
        with pytest.raises(ClusterError, match=rf"^1 of 2 Dask workers \(b\) has {said}, this process .*connecto=="):
            check_own({"a": here, "b": there})


@pytest.mark.parametrize("package", [name for name in ALIKE if name not in ("numpy", OURS)])
def test_a_scheduler_that_differs_is_named(package):
    with pytest.raises(ClusterError, match=r"^the Dask scheduler has \S+ 1\.2\.3\S*, this process has"):
        check_versions(answer(**{package: "1.2.3"}), {"a": answer()})


def test_a_scheduler_that_does_not_understand_this_client_is_named(monkeypatch):
    def refused(*_, **__):
        raise TypeError("Scheduler.identity() got an unexpected keyword argument 'n_workers'")

    monkeypatch.setattr(cluster, "Client", refused)
    monkeypatch.setattr(cluster, "_versions", lambda _: answer(distributed="2024.8.0"))
    with pytest.raises(ClusterError, match=r"the Dask scheduler has distributed 2024.8.0"), connect("inproc://x"):
        pass
    monkeypatch.setattr(cluster, "_versions", lambda _: {})
    with pytest.raises(
        ClusterError, match=r"cannot talk with the Dask scheduler at inproc://x .*same versions of dask"
    ):
        connect("inproc://x").__enter__()
