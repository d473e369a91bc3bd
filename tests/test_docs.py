"""Pages say what is true: links lead somewhere, options exist, names are public, blocks run as they are written."""

from __future__ import annotations

import ast
import inspect
import operator
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import napari_connecto as nc
from napari_connecto.cli import cli
from tests import pages

SHELL = [b for page in pages.PAGES for b in pages.blocks(page) if b.language == "bash"]
PYTHON = [b for page in pages.PAGES for b in pages.blocks(page) if b.language == "python"]
MEASURED = {p for p in pages.PAGES if p.parent.name == "benchmarks" or p.stem in ("benchmarks", "reliability")}
OTHER_PROGRAMS = {"--nthreads", "--host", "--resources"}  # of dask


def where(block: pages.Block) -> str:
    return f"{pages.name(block.page)}:{block.line}"


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_links_lead_somewhere(page):
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{pages.name(page)} links to {link}"
        if pages.DOCS in page.parents:
            assert pages.DOCS in target.parents, f"{link} is not part of the site"
        if anchor:
            assert anchor in pages.anchors(target), f"{pages.name(page)} links to {link}"


@pytest.fixture
def parsed(monkeypatch):
    """Parse a command line as click does, whatever files there are."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: value)

    def parse(arguments: list[str]) -> None:
        command: click.Command = cli
        context = click.Context(cli, info_name="napari-connecto")
        rest = list(arguments)
        while rest and isinstance(command, click.Group) and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
            context = click.Context(command, parent=context, info_name=command.name)
        if rest[:1] in (["--version"], ["--help"]) or (command is not cli and rest == ["--help"]):
            return
        assert command is not cli, f"no such command: {arguments}"
        command.make_context(command.name, rest, parent=context.parent)

    return parse


@pytest.mark.parametrize("block", SHELL, ids=where)
def test_commands_in_blocks_parse(block, parsed):
    for arguments in pages.commands(block.body):
        parsed(arguments)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_commands_and_options_in_the_text_exist(page, parsed):
    for arguments in pages.mentioned(page):
        if len(arguments) > 1 or arguments[0] not in cli.commands:  # a command's bare name is a mention
            parsed(arguments)
    leaves = [c for top in cli.commands.values() for c in (top, *getattr(top, "commands", {}).values())]
    ours = {o for command in (cli, *leaves) for p in command.params for o in (*p.opts, *p.secondary_opts)}
    if page not in MEASURED:  # their options are those of scripts
        assert pages.options(page) <= ours | OTHER_PROGRAMS


@pytest.mark.parametrize("block", PYTHON, ids=where)
def test_python_uses_public_names_and_their_arguments(block):
    for node in ast.walk(ast.parse(block.body)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nc":
            assert node.attr in nc.__all__
        if isinstance(node, ast.Call) and "*" not in ast.unparse(node):
            called = re.fullmatch(r"nc\.([\w.]+)", ast.unparse(node.func))
            if called:
                function = operator.attrgetter(called[1])(nc)
                inspect.signature(function).bind(*node.args, **{k.arg: k.value for k in node.keywords})


@pytest.mark.slow
@pytest.mark.parametrize("page", ["own_data.md", "scripting.md", "large_data.md"])
def test_pages_run_from_top_to_bottom(page, tmp_path, monkeypatch):
    """In this process, for a process each would load everything again; what is refused is refused as it says there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_connecto.models.files.installed", lambda: False)  # to convert networks takes longer
    names: dict[str, object] = {"__name__": "__page__"}
    todo = list(pages.blocks(pages.DOCS / page))
    for block, after in zip(todo, [*todo[1:], None], strict=True):
        if not block.is_run:
            continue
        if block.language == "python":
            exec(compile("\n" * block.line + block.body, page, "exec"), names)
            continue
        for arguments in pages.commands(block.body):
            result = CliRunner().invoke(cli, arguments)
            if block.mark == "refused":
                assert isinstance(result.exception, nc.ConnectoError), result.output
                said = str(result.exception).replace(str(tmp_path), "...").replace("\\", "/")
                assert said == after.body.strip()
            else:
                assert result.exit_code == 0, f"{where(block)} {arguments}: {result.exception!r} {result.output}"


@pytest.mark.slow
@pytest.mark.skipif("NAPARI_CONNECTO_TUTORIALS" not in os.environ, reason="half an hour; NAPARI_CONNECTO_TUTORIALS=1")
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("page", ["cascade.md", "adapt.md", "translate.md"])
def test_tutorials_run_as_written(page, tmp_path):
    """From the page alone, in an empty folder, by the installed command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = {"cwd": tmp_path, "env": {**os.environ, "PATH": path}, "text": True, "capture_output": True, "check": False}
    subprocess.run(["napari-connecto", "samples"], **run)
    for block in pages.blocks(pages.DOCS / page):
        if block.is_run:
            command = ["bash", "-euc", block.body] if block.language == "bash" else [sys.executable, "-c", block.body]
            done = subprocess.run(command, **run)
            assert done.returncode == 0, f"{where(block)}\n{done.stdout}\n{done.stderr}"


def test_menus_are_where_pages_say():
    manifest = yaml.safe_load((pages.ROOT / "src/napari_connecto/napari.yaml").read_text(encoding="utf-8"))
    ours, docks = manifest["display_name"], {w["display_name"] for w in manifest["contributions"]["widgets"]}
    named = [m for p in pages.PAGES for m in re.findall(r"\*Plugins > ([^*>]+?)(?: > ([^*]+))?\*", pages.prose(p))]
    assert len(named) > 5
    assert all(plugin == ours and (dock in docks or not dock) for plugin, dock in named), named
    samples = [m for p in pages.PAGES for m in re.findall(r"Open Sample > ([^*>]+)", pages.prose(p))]
    assert set(samples) == {ours}


def test_api_page_has_every_public_name():
    listed = re.findall(
        r"^::: napari_connecto\.([\w.]+)\.(\w+)$", (pages.DOCS / "api.md").read_text(encoding="utf-8"), re.M
    )
    homes = {name: home for home, name in listed}
    assert len(listed) == len(homes)
    assert homes == nc._HOMES


def test_one_address_everywhere():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    urls, hook = project["project"]["urls"], project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    home = urls["Homepage"]
    citation = yaml.safe_load((pages.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((pages.ROOT / "packaging" / "recipe.yaml").read_text(encoding="utf-8"))
    site = (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert citation["repository-code"] == home == recipe["about"]["repository"]
    assert f'link: "{home}"' in site
    assert f"site_url: {urls['Documentation']}/\n" in site
    owner = home.removeprefix("https://github.com/")
    assert all(owner in rule["replacement"] for rule in hook["substitutions"])
    assert urls["Issues"].startswith(home)
    assert urls["Changelog"].startswith(home)
    assert f"<{urls['Issues']}>" in (pages.DOCS / "faq.md").read_text(encoding="utf-8")


def test_install_page_has_every_extra():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"^\| `([\w-]+)` \|", (pages.DOCS / "install.md").read_text(encoding="utf-8"), re.M)
    assert set(listed) == set(project["optional-dependencies"]) - {"test", "test-gui", "docs"}


def test_conda_recipe_asks_for_what_pyproject_asks_for():
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = yaml.safe_load((pages.ROOT / "packaging" / "recipe.yaml").read_text(encoding="utf-8"))
    asked = {re.sub(r"\[.*?\]", "", need).replace(">=", " >=") for need in project["dependencies"]}
    conda = {"torch": "pytorch", "dask": "dask-core", "matplotlib": "matplotlib-base"}
    conda["huggingface-hub"] = "huggingface_hub"
    wanted = {" ".join([conda.get(need.split()[0], need.split()[0]), *need.split()[1:]]) for need in asked}
    run = set(recipe["requirements"]["run"])
    assert wanted <= run
