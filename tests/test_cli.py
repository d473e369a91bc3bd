"""The command line: what it says, what it writes, and with which code it ends."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
import tifffile
import yaml
from click.testing import CliRunner

import napari_connecto
from napari_connecto import cli
from napari_connecto.cli.options import drive
from napari_connecto.cli.runs import How, do_run
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Progress, loading, run
from napari_connecto.core.phases import Phases
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.sample_data import list_cascades, list_models, open_sample
from napari_connecto.workflows.adapt.params import FineTuneParams, RankParams, SuggestParams
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.recipes.entries.adapt import Rank
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec
from tests import tiny

COMMANDS = sorted(cli.cli.commands)
QUICK = ("--backend", "torch", "--progress", "none")  # the other backend compiles networks for seconds


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    volume = tiny.volume(folder)
    return volume, tiny.cascade(volume, folder / "cascade")


def invoke(*arguments) -> str:
    """What a command that must succeed prints on stdout."""
    result = CliRunner().invoke(cli.cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_commands():
    cascade, adapt = (
        ["detect", "fields", "measure", "regions", "train-cascade"],
        ["domains", "fine-tune", "predict", "prepare", "rank"],
    )
    general, xray = (
        ["convert", "demo", "info", "models", "report", "run", "samples"],
        ["adapt-translator", "pair", "simulate-xray", "train-translator", "translate"],
    )
    helpers = ["cache", "doctor", "export", "neuroglancer"]
    inspect = ["concepts", "guard", "probe", "prune", "why-missed"]
    assert (
        sorted([*cascade, *adapt, *xray, "proofread", "segment", "suggest", *general, *helpers, *inspect]) == COMMANDS
    )


def test_help_loads_no_torch():
    program = (
        "import sys\n"
        "from napari_connecto.cli import cli\n"
        f"for name in {COMMANDS}:\n"
        "    cli([name, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'napari', 'qtpy', 'zarr', 'dask', 'scipy', 'skimage'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == len(COMMANDS)


def test_what_only_lists_loads_no_torch(tmp_path):
    listing = [["models"], ["info", open_sample("cells").source], ["samples", "--out", str(tmp_path)]]
    program = (
        "import sys\n"
        "from napari_connecto.cli import cli\n"
        f"for words in {listing}:\n"
        "    cli(words, standalone_mode=False)\n"
        "    heavy = {'torch', 'monai', 'dask', 'skimage', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cells") >= len(listing)


def test_every_parameter_is_an_option_with_its_help():
    of = {"detect": DetectParams, "train-cascade": TrainParams, "rank": RankParams, "suggest": SuggestParams}
    for name, kind in (of | {"fine-tune": FineTuneParams, "segment": SegmentParams}).items():
        options = {o.name: o for o in cli.cli.commands[name].params}
        for field, value in kind().__dict__.items():
            assert options[field].default == value
            assert options[field].help.startswith(kind.__dataclass_fields__[field].metadata["help"][:40])


FOREIGN = {"--resources", "--nthreads", "--version", "--help"}
"""Of ``dask worker``, and of every command."""


def options_of(command) -> set[str]:
    """Every spelling of the options of a command and those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {name for o in command.params if isinstance(o, click.Option) for name in (*o.opts, *o.secondary_opts)}
    return own.union(*map(options_of, below))


def test_every_option_and_command_that_a_message_names_exists():
    known, lost = options_of(cli.cli) | FOREIGN, {}
    for path in sorted(Path(napari_connecto.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = set(re.findall(r"(?<![\w\-`.])--[a-z][a-z-]+[a-z]", node.value)) - known
                named |= {w for w in re.findall(r"(?:`|: )napari-connecto ([a-z-]+)", node.value) if w not in COMMANDS}
                if named:
                    lost[f"{path.name}:{node.lineno}"] = named
    assert lost == {}


def test_every_option_says_what_it_is_and_what_it_is_by_default():
    def walk(command, path):
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, (path, option.name)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}")
            page = CliRunner().invoke(cli.cli, [*f"{path} {name}".split()[1:], "--help"]).output
            for option in inner.params:
                stated = isinstance(getattr(option, "default", None), str | int | float | tuple | Path)
                if stated and option.default and not option.required:
                    told = re.search(rf"{option.opts[0]}(?![\w-])(.*?)(?:\n  -|\Z)", page, re.S)
                    assert told is not None
                    assert "default" in told[1], (name, option.name)

    walk(cli.cli, "napari-connecto")


def test_version():
    assert invoke("--version") == f"napari-connecto, version {napari_connecto.__version__}\n"


def test_samples_are_copied_once(tmp_path):
    out = tmp_path / "sample_data/shipped"
    lines = invoke("samples", "--out", out).splitlines()
    assert str(out / "cells.ome.zarr") in lines
    assert sorted(str(path) for path in out.iterdir()) == lines
    (out / "cells.ome.zarr/zarr.json").write_text("mine")
    assert invoke("samples", "--out", out).splitlines() == lines
    assert (out / "cells.ome.zarr/zarr.json").read_text() == "mine"
    np.testing.assert_array_equal(
        open_volume(out / "neuropil.ome.zarr").levels[2].array[:], open_sample("neuropil").levels[2].array[:]
    )


def test_info(good):
    lines = invoke("info", good[0]).splitlines()
    assert lines[0].endswith("image, uint8, axes z y x")
    assert lines[1].startswith("level 0: 16 x 160 x 160 voxels of 2000 x 1000 x 1000 nm, 410 kB, chunks ")
    assert lines[2].startswith("level 1: 16 x 80 x 80 voxels of 2000 x 2000 x 2000 nm, 102 kB, chunks ")
    assert len(lines) == 3


def test_info_lists_channels_and_time_points(tmp_path):
    image = np.zeros((5, 4, 3, 16, 24), np.uint8)
    tifffile.imwrite(tmp_path / "many.ome.tif", image, metadata={"axes": "TZCYX"})
    lines = invoke("info", tmp_path / "many.ome.tif").splitlines()
    assert lines[0] == "3 channels: choose one with --channel 0 to 2"
    assert lines[1] == "5 time points: choose one with --time 0 to 4"
    assert lines[2].endswith(": image, uint8, axes c z y x, 3 channels")
    assert lines[-1].startswith("level 0: 4 x 16 x 24 voxels")
    assert len(invoke("info", tmp_path / "many.ome.tif", "--channel", 0).splitlines()) == len(lines) - 1


def test_info_lists_the_images_of_an_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["v/raw"], file["v/cells"] = np.zeros((4, 8, 9), np.uint8), np.zeros((4, 8, 9), np.uint32)
    lines = invoke("info", tmp_path / "two.h5").splitlines()
    assert lines == ["several images: choose one with --array", "v/cells: 4 x 8 x 9, uint32", "v/raw: 4 x 8 x 9, uint8"]
    with pytest.raises(InputError, match="no image 'x' in"):
        invoke("info", tmp_path / "two.h5", "--array", "x")


def test_convert_keeps_values_and_sizes(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (6, 70, 90)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", image)
    made = ("--voxel-nm", "40", "8", "8", "--levels", "3", "--format", "0.4", "--progress", "none")
    out = invoke("convert", tmp_path / "stack.tif", tmp_path / "out.ome.zarr", *made)
    volume = open_volume(tmp_path / "out.ome.zarr")
    np.testing.assert_array_equal(volume.levels[0].array[:], image)
    assert [level.shape for level in volume.levels] == [(6, 70, 90), (6, 35, 45), (6, 18, 23)]
    assert [level.voxel_nm for level in volume.levels] == [(40, 8, 8), (40, 16, 16), (40, 32, 32)]
    assert (tmp_path / "out.ome.zarr/.zattrs").exists()
    assert "level 2: 6 x 18 x 23 voxels of 40 x 32 x 32 nm" in out
    replaced = ("convert", tmp_path / "stack.tif", tmp_path / "out.ome.zarr", "--overwrite", "--kind", "labels")
    invoke(*replaced, "--voxel-nm", "9", "9", "9", "--progress", "none")
    again = open_volume(tmp_path / "out.ome.zarr")
    assert (again.kind, again.levels[0].voxel_nm) == ("labels", (9, 9, 9))


def test_detect_writes_all_that_it_says(good, tmp_path):
    out, table = tmp_path / "out", tmp_path / "tables" / "cells.xml"
    text = invoke("detect", good[0], "--cascade", good[1], "--out", out, "--audit", "4", "--table", table, *QUICK)
    assert text.splitlines()[-2] == f"written to {out}"
    found = Detections.load(out / "detections.csv")
    report = json.loads((out / "report.json").read_text())
    assert len(found) == report["objects"] > 5
    finest = open_volume(good[0]).levels[0]
    assert f"{len(found)} points written to {table}" in text
    cells = Detections.load(table, level=finest)
    assert np.abs(cells.centre_nm - found.centre_nm).max() <= max(finest.voxel_nm) / 2 + 1e-6
    assert f"{report['objects']} objects" in text
    labels = open_volume(out / "labels/objects.zarr").levels[0]
    assert labels.shape == (16, 160, 160)
    assert int(np.asarray(labels.array[:]).max()) == len(found)
    assert open_volume(out / "map/probability.zarr").levels[0].voxel_nm == (2000, 1000, 1000)
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    assert (recipe["workflow"], recipe["params"]["audit"]) == ("detect", 4)
    repeated = invoke("run", out / "recipe.yaml", "--out", tmp_path / "again", "--progress", "none")
    assert repeated.splitlines()[-1] == f"written to {tmp_path / 'again'}"
    assert (tmp_path / "again/detections.csv").read_bytes() == (out / "detections.csv").read_bytes()


def test_progress_for_another_program(good, tmp_path):
    arguments = (
        "--cascade",
        good[1],
        "--out",
        tmp_path / "out",
        "--force-cascade",
        "--audit",
        "2",
        "--backend",
        "torch",
        "--progress",
        "json",
    )
    messages = [json.loads(line) for line in invoke("detect", good[0], *arguments).splitlines()]
    assert messages[-1]["summary"]["out"] == str(tmp_path / "out")
    steps = [m for m in messages if m.get("stage") == "level 1"]
    assert [m["done"] for m in steps] == sorted(m["done"] for m in steps)
    assert steps[-1]["done"] == steps[-1]["total"] == 18


def test_the_whole_of_a_command_is_one_bar(good, tmp_path):
    """For other programs; torch is loaded before anything is known of the work."""
    quick = ("--out", tmp_path / "out", "--audit", "2", "--backend", "torch", "--progress", "json", "--report")
    *messages, last = [
        json.loads(line) for line in invoke("detect", good[0], "--cascade", good[1], *quick).splitlines()
    ]
    overall = [m["overall"] for m in messages]
    assert messages[0] | {"stage": "loading torch", "overall": 0.0} == messages[0]
    assert overall == sorted(overall)
    assert overall[-1] == 1
    assert max(m["overall"] for m in messages if m["stage"] != "writing the report") == pytest.approx(0.98)
    assert last["summary"]["report"].endswith("report.html")


def test_one_line_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def job():
        yield loading("torch")
        phases = Phases({"training": 3, "measuring": 1})
        yield from phases.run("training", (Progress(n, 2) for n in (1, 2)))
        return (yield from phases.run("measuring", (Progress(n, 2, "measuring level 1") for n in (1, 2))))

    monkeypatch.setattr(sys, "stderr", Terminal())
    drive(job(), "bar")
    drawn = [line.strip() for line in sys.stderr.getvalue().split("\r") if "%" in line]
    assert drawn[0].startswith("0 %|")
    assert "| loading torch" in drawn[1]
    assert any("38 %|" in line and "| training 1/2" in line for line in drawn)
    assert drawn[-1].startswith("100 %|")
    assert drawn[-1].endswith("| measuring level 1 2/2")
    assert sys.stderr.getvalue().count("\n") == 1


def test_all_that_other_programs_read_is_json_and_a_summary_comes_last(good, tmp_path):
    last = last_of("convert", good[0], tmp_path / "copy.ome.zarr", "--levels", 1)
    assert last["out"] == str(tmp_path / "copy.ome.zarr")
    assert last["lines"][1].startswith("level 0: 16 x 160 x 160 voxels")
    last = last_of("export", "labels", good[0], tmp_path / "labels.zarr", "--to", "ome-zarr", "--levels", 1)
    assert last == {"out": str(tmp_path / "labels.zarr"), "lines": []}


def test_an_estimate_for_another_program(good, tmp_path):
    out, image = ("--out", tmp_path / "out", "--estimate"), ("--backend", "torch")
    found = last_of("detect", good[0], "--cascade", good[1], "--force-cascade", *out, *image)
    assert found["levels"][0]["name"] == "level 1"
    assert found["seconds"] > 0 < found["seconds_exhaustive"]
    assert found["memory_bytes"] > 0 < found["disk_bytes"]
    found = last_of("segment", good[0], *out)
    assert found["seconds"] == found["predict_s"] + found["segment_s"] > 0
    assert found["tiles"] == 0
    assert found["device"].startswith("CPU, ")


def last_of(*arguments) -> dict:
    """The summary of a command that prints nothing but JSON."""
    return [json.loads(line) for line in invoke(*arguments, "--progress", "json").splitlines()][-1]["summary"]


def test_json_has_null_where_a_domain_was_not_compared(monkeypatch, capsys):
    def found(*_):
        yield Progress(1, 1, "comparing", {"mmd2": float("nan")})
        return Summary("", [], {"ranks": [{"interval": [float("nan")] * 2, "p": float("nan")}]})

    monkeypatch.setattr(Rank, "job", found)
    do_run(Rank(volume=VolumeSpec("volume.zarr")), How(progress="json"))
    _, step, *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert step["payload"] == {"mmd2": None}
    assert last["summary"]["ranks"] == [{"interval": [None, None], "p": None}]


def test_a_region_that_reaches_outside_is_said_to_be_clipped(good, tmp_path):
    clipped = "region clipped to z y x (0, 0, 0) to (4, 160, 64), the voxels that there are"
    outside, inside = ("--region", -1, 0, 0, 4, 500, 64), ("--region", 0, 0, 0, 4, 160, 64)
    assert invoke("segment", good[0], "--out", tmp_path / "s", *outside, *QUICK).splitlines()[0] == clipped
    search = ("detect", good[0], "--cascade", good[1], *QUICK, "--audit", 0)
    assert invoke(*search, "--out", tmp_path / "out", *outside).splitlines()[0] == clipped
    assert clipped not in invoke(*search, "--out", tmp_path / "in", *inside)


def test_an_estimate_writes_nothing(good, tmp_path):
    asked = ("detect", good[0], "--cascade", good[1], "--out", tmp_path / "out", "--estimate", "--backend", "torch")
    text = invoke(*asked, "--force-cascade")
    assert "level 1 (2000x2000x2000 nm" in text
    assert "the best exhaustive search takes" in text
    assert "No cascade: " in invoke(*asked)  # so small a volume is all audit
    assert not (tmp_path / "out").exists()


def test_models_are_listed():
    lines = invoke("models").splitlines()
    assert all(any(f"({folder})" in line for line in lines) for folder in list_models().values())
    cascades, domains = list(list_cascades()), list(list_models())
    assert domains == ["fly-medulla", "rat-axons", "synthetic-neuropil"]
    assert [line.split(":")[0] for line in lines] == [*cascades, *domains, "synthetic"]
    assert all("trained on" in line for line in [*lines[: len(cascades)], lines[-1]])


def test_exit_codes_of_the_real_command(good, tmp_path):
    done = tiny.command("info", good[0])
    assert (done.returncode, done.stderr) == (0, "")
    bad = tiny.command("info", tmp_path / "absent.zarr")
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal there ends a process at once")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_is_one_line_and_a_code_of_its_own(number, code):
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # shells may have it ignored
    stop = f"import os; cli.cli = lambda **_: os.kill(os.getpid(), {int(number)})"
    program = f"{hear}; from napari_connecto import cli; {stop}; cli.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert done.stderr == "cancelled; what was finished is kept, run the same command again to resume\n"


@pytest.mark.parametrize(
    ("words", "where"),
    [("info --voxel-nm 10 10", "info"), ("export labels a b --no", "export labels"), ("nothing", ""), ("info", "info")],
)
def test_an_option_that_cannot_be_read_leads_to_its_commands_help(words, where, monkeypatch, capsys):
    assert ended_with(monkeypatch, words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(f"; see {' '.join(['napari-connecto', *where.split()])} --help\n")


@pytest.mark.parametrize("words", ["", "export"])
def test_without_a_command_there_is_the_usual_help(words, monkeypatch, capsys):
    assert ended_with(monkeypatch, words) in (0, 2)  # as click has it, before 8.2 and since
    said = "".join(capsys.readouterr())
    assert said.startswith("Usage: ")
    assert said.count("\n") > 8


def ended_with(monkeypatch, words: str) -> int:
    """The exit code of the real entry point."""
    monkeypatch.setattr(sys, "argv", ["napari-connecto", *words.split()])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.slow
def test_train_cascade_then_detect(tmp_path):
    image, truth = tiny.cells(1)
    run(save_volume_job(image, tmp_path / "image.ome.zarr", levels=2))
    run(save_volume_job(truth, tmp_path / "cells.ome.zarr", levels=1))
    quick = ("--steps", "10", "--width", "4", "--name", "cells", "--progress", "none", "--device", "cpu")
    labels = ("--labels", tmp_path / "cells.ome.zarr")
    text = invoke("train-cascade", tmp_path / "image.ome.zarr", *labels, "--out", tmp_path / "cascade", *quick)
    assert text.splitlines()[-1] == f"written to {tmp_path / 'cascade'}"
    cascade = load_cascade(tmp_path / "cascade")
    assert cascade.metadata["params"]["steps"] == 10
    recipe = yaml.safe_load((tmp_path / "cascade/recipe.yaml").read_text())
    assert recipe["workflow"] == "train-cascade"
    arguments = ("--cascade", tmp_path / "cascade", "--out", tmp_path / "out", "--progress", "none")
    invoke("detect", tmp_path / "image.ome.zarr", *arguments)
    assert (tmp_path / "out/detections.csv").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo(tmp_path):
    text = invoke("demo", "--no-viewer", "--out", tmp_path / "demo", "--progress", "none")
    for sample in ("cells", "neuropil"):
        assert (tmp_path / f"demo/{sample}.png").stat().st_size > 10_000
        report = json.loads((tmp_path / f"demo/{sample}/report.json").read_text())
        everywhere = json.loads((tmp_path / f"demo/{sample}_everywhere/report.json").read_text())
        assert report["levels"][-1]["calls"] <= everywhere["levels"][-1]["calls"] == everywhere["chunks"]
        assert report["objects"] > 0
        assert str(tmp_path / "demo" / sample) in text
    assert f"on one page: {tmp_path / 'demo' / 'report.html'}" in text
    assert (tmp_path / "demo/report.html").read_text().count("<article") == 9
    again = ("--out", tmp_path / "again", "--progress", "none")
    invoke("run", tmp_path / "demo/neuropil/recipe.yaml", *again)
    table = (tmp_path / "demo/neuropil/detections.csv").read_text()
    assert (tmp_path / "again/detections.csv").read_text() == table


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), "a folder that is imported from"),
        ImportError("reconstruct.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
    ],
)
def test_memory_that_runs_out_anywhere_is_one_line(error, monkeypatch, capsys):
    def short(**_):
        raise error

    monkeypatch.setattr(cli, "cli", short)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("napari-connecto: out of memory; close other programs and run again")
