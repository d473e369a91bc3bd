"""Compare the versions of a Dask cluster with this process's before the first task, instead of a later traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from napari_connecto import __version__
from napari_connecto.core.errors import ClusterError

OURS = "napari_connecto"
ALIKE = {"python": 2, "distributed": 2, "dask": 2, "numpy": 1, OURS: 0}
"""How many numbers of a version must agree, 0: all. Functions cross only between equal minor versions of Python, Dask's
messages between releases of one month, arrays between numpy of one major version."""
SHARED = ("python", "distributed", "dask")
"""What the scheduler needs as well; the other packages are for workers only."""


def check_versions(scheduler: Mapping[str, Any] | None, workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `ClusterError` for the first package that differs from this process's, in one line.

    Parameters
    ----------
    scheduler
        Its answer to Dask's "versions" (``{"host": {...}, "packages": {...}}``); None where it is known to be right.
    workers
        Such an answer by address.
    """
    for package in ALIKE:
        if package == OURS:
            continue
        here = ".".join(map(str, sys.version_info[:3])) if package == "python" else version(package)
        _compare(package, here, {address: _told(answer, package) for address, answer in workers.items()})
        there = _told(scheduler, package) if scheduler is not None and package in SHARED else here
        if not _agree(package, there, here):
            raise ClusterError(_sentence(package, here, "the Dask scheduler", there))


def check_own(workers: Mapping[str, Any]) -> None:
    """Raise `ClusterError` unless all workers run this very napari-connecto; by address what `own_version` gave there,
    or the error that came instead.
    """
    _compare(OURS, __version__, {a: there if isinstance(there, str) else None for a, there in workers.items()})


def own_version() -> str:
    """To be run on workers: the version of this package there; it fails to be read where there is none."""
    return __version__


def _compare(package: str, here: str, workers: Mapping[str, str | None]) -> None:
    odd = {address: there for address, there in workers.items() if not _agree(package, there, here)}
    if odd:
        raise ClusterError(_sentence(package, here, _who(odd, len(workers)), next(iter(odd.values()))))


def _told(answer: Mapping[str, Any], package: str) -> str | None:
    if package != "python":
        return _text(dict(answer.get("packages") or {}).get(package))
    found = dict(answer.get("host") or {}).get("python") or dict(answer.get("packages") or {}).get("python")
    return None if found is None else str(found).partition(".final")[0]


def _text(found: Any) -> str | None:
    return None if found is None else str(found)


def _agree(package: str, there: str | None, here: str) -> bool:
    return there is not None and _part(there, ALIKE[package]) == _part(here, ALIKE[package])


def _part(text: str, numbers: int) -> list[str]:
    """The numbers of a version that count; without what marks a local build."""
    parts = text.partition("+")[0].split(".")
    return parts[:numbers] if numbers else parts


def _who(odd: Iterable[str], count: int) -> str:
    names = list(odd)
    some = f"{len(names)} of {count} Dask workers" if count > 1 else "the Dask worker"
    return f"{some} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"


def _sentence(package: str, here: str, who: str, there: str | None) -> str:
    name = {"python": "Python", OURS: "napari-connecto"}.get(package, package)
    verb = "have" if who[0].isdigit() and not who.startswith("1 ") else "has"
    has = f"{who} {verb} {'no ' + name if there is None else f'{name} {there}'}, this process has {here}"
    wanted = ".".join(_part(here, ALIKE[package]))
    if package == "python":
        return f"{has}; start scheduler and workers in an environment with Python {wanted}"
    wildcard = ".*" if 0 < ALIKE[package] < len(here.split(".")) else ""
    return f'{has}; install the same there: pip install "{name}=={wanted}{wildcard}", then restart it'
