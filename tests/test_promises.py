"""What importing the package promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_connecto

HEAVY = ("torch", "napari", "qtpy", "magicgui", "dask", "zarr", "scipy", "skimage", "monai")


def loaded_after(code: str) -> set[str]:
    """The heavy packages in memory after running ``code`` in a fresh interpreter."""
    program = f"{code}\nimport sys\nprint('loaded:', *[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("loaded:")[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import napari_connecto",
        "import napari_connecto as nc; nc.expected_cascade(0.01, (0.9, 0.9), (0.1, 0.1), 8); nc.Box; nc.Volume",
        "import napari_connecto.cli",
    ],
)
def test_importing_loads_nothing_heavy(code):
    assert loaded_after(code) == set()


def test_workflows_load_no_gui():
    assert not loaded_after("import napari_connecto as nc; nc.detect; nc.train_cascade") & {
        "napari",
        "qtpy",
        "magicgui",
    }


def test_public_names_are_documented_and_made_where_the_package_says():
    assert set(napari_connecto.__all__) <= set(dir(napari_connecto))
    for name, home in napari_connecto._HOMES.items():
        thing = getattr(napari_connecto, name)
        assert thing.__doc__, name
        assert getattr(thing, "__module__", home).removeprefix("napari_connecto.") == home, name


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        napari_connecto.nonsense  # noqa: B018


def test_core_needs_numpy_and_the_standard_library_alone():
    """The import contract forbids a list; here everything but these is forbidden."""
    found = set()
    for file in (Path(napari_connecto.__file__).parent / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).split(".")[0])
    assert found - set(sys.stdlib_module_names) == {"numpy", "napari_connecto"}
