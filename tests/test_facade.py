"""Type checkers, the package itself and the API page tell the same public names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from mypy import api

import napari_connecto as nc
from tests.pages import DOCS, ROOT

SRC = ROOT / "src"
PACKAGE = SRC / "napari_connecto"


def exported(stub: str) -> dict[str, str]:
    """Where each name of a stub is defined: ``module.name``, without the package."""
    found = {}
    for node in ast.parse((PACKAGE / stub).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            home = node.module.removeprefix("napari_connecto").lstrip(".")
            found |= {str(alias.asname): f"{home}.{alias.name}".lstrip(".") for alias in node.names}
    return found


def test_the_stub_exports_every_public_name_from_its_home():
    homes = {name: f"{home}.{name}" for name, home in nc._HOMES.items()}
    assert exported("__init__.pyi") == {"jobs": "jobs", "theory": "theory", **homes}
    assert set(nc.__all__) == {"__version__", *exported("__init__.pyi")}


def test_every_job_stands_beside_its_function():
    assert exported("jobs.pyi") == {name: f"{nc._HOMES[name]}.{name}_job" for name in nc.jobs.__all__}
    text = ast.parse((PACKAGE / "jobs.pyi").read_text(encoding="utf-8")).body[-1]
    assert isinstance(text, ast.Assign)
    assert ast.literal_eval(text.value) == nc.jobs.__all__ == sorted(nc.jobs.__all__)


def test_every_function_that_has_a_job_lists_it():
    """A public function with a job beside it is in `nc.jobs`; none is forgotten."""
    twins = set()
    for name, home in nc._HOMES.items():
        module = PACKAGE / f"{home.replace('.', '/')}.py"
        twins |= {name} if f"def {name}_job(" in module.read_text(encoding="utf-8") else set()
    assert twins == set(nc.jobs.__all__)


def test_the_api_page_lists_every_job():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    [sentence] = re.findall(r"There is a job for (.*?)\.\n", page, re.S)
    assert re.findall(r"`(\w+)`", sentence) == nc.jobs.__all__


@pytest.mark.parametrize("name", nc.jobs.__all__)
def test_jobs_resolve(name):
    assert getattr(nc.jobs, name).__name__ == f"{name}_job"
    assert name in dir(nc.jobs)


def test_unknown_jobs_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        nc.jobs.nonsense  # noqa: B018


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_type_checker_knows_every_public_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """None is ``Any``: functions and classes are shown with their arguments."""
    monkeypatch.setenv("MYPYPATH", str(SRC))
    monkeypatch.chdir(ROOT)  # with the cache that `mypy` left there
    names = [f"nc.{n}" for n in nc.__all__] + [f"nc.jobs.{n}" for n in nc.jobs.__all__]
    snippet = tmp_path / "snippet.py"
    snippet.write_text("import napari_connecto as nc\n" + "".join(f"reveal_type({name})\n" for name in names))
    told, errors, status = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(snippet)])
    assert (errors, status) == ("", 0), told
    shown = dict(zip(names, re.findall(r'Revealed type is "(.*)"', told), strict=True))
    assert shown.pop("nc.__version__") in ("str", "builtins.str")  # by the version of mypy
    assert "Module" in shown.pop("nc.jobs")
    assert "Module" in shown.pop("nc.theory")
    assert not {name: kind for name, kind in shown.items() if not re.match(r"def |Overload\(", kind)}
