"""Files that are spoilt or exchanged between two runs, and clocks that jump."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _faults_disk import told
from _faults_jobs import Work, run
from _faults_kill import Bench, Row

from napari_connecto.io.volumes.read import open_volume


def spoil(path: Path, rng: np.random.Generator) -> str:
    """Cut a file off or empty it, of what is no text also flip a bit or overwrite a part; says which."""
    data = bytearray(path.read_bytes())
    text = path.suffix in (".json", ".csv")  # has no checksum
    how = str(rng.choice(["cut off", "emptied", "one bit flipped", "overwritten"][: 2 if text else 4]))
    at = int(rng.integers(len(data)))
    if how == "cut off":
        data = data[:at]
    elif how == "emptied":
        data = bytearray()
    elif how == "one bit flipped":
        data[at] ^= 1 << int(rng.integers(8))
    else:
        data[at : at + 64] = rng.bytes(len(data[at : at + 64]))
    path.write_bytes(bytes(data))
    return how


def spoilt(bench: Bench, name: str, tries: int) -> Row:
    """One file of an unfinished (every other time a finished) result is spoilt; then the job goes on.

    It must be made again, be named, or, where the job does not look at it, be named by who reads it.
    """
    row = Row(f"a file of the result spoilt, {name}")
    while row.tries < tries:
        out = bench.fresh(f"{name}-spoilt")
        if row.tries % 2:
            shutil.copytree(bench.reference(name).out, out)
        elif not bench.cut_off(name, out):
            continue
        kept = [p for p in sorted(out.rglob("*")) if p.is_file() and p.stat().st_size and p.name != "recipe.yaml"]
        if not kept:
            continue
        path = kept[bench.rng.integers(len(kept))]
        how = spoil(path, bench.rng)
        row.tries += 1
        ended, file = run(bench.works[name], out), path.relative_to(out)
        wrong = bench.wrong(name, out) if ended.done else []
        if told(name, ended):
            row.outcomes["stopped with one line"] += 1
        elif ended.done and not wrong:
            row.outcomes["made again, or never needed"] += 1
        elif ended.done and wrong == [f"{file} differs"] and _named(out, path):
            row.outcomes["not needed again; who reads it is told"] += 1
        else:
            row.wrong.append(f"{file} {how}: {wrong or ended}")
    return row


def _named(out: Path, path: Path) -> bool:
    """Whether reading the image that a chunk belongs to says which is damaged."""
    image = next((p for p in path.parents if p.suffix == ".zarr"), None)
    if image is None:
        return False

    def read(_: Path) -> None:
        for level in open_volume(image).levels:
            level.read(level.box)

    ended = run(Work("read", read), out.with_name(f"{out.name}-read"))
    return ended.code == 1 and any(f"core.errors.{kind}Error" in ended.said for kind in ("Chunk", "Input"))


def exchanged(bench: Bench, name: str, tries: int) -> Row:
    """A chunk of the source is written anew between two runs; then the old one is put back."""
    row = Row(f"source changed between two runs, {name}")
    source = bench.works[name].source
    chunks = [p for p in sorted(source.rglob("*")) if p.is_file() and "c" in p.relative_to(source).parts]
    for _ in range(tries):
        out = bench.fresh(f"{name}-exchanged")
        if not bench.cut_off(name, out) or not (out / "job.json").exists():
            shutil.copytree(bench.reference(name).out, out, dirs_exist_ok=True)
        path = chunks[bench.rng.integers(len(chunks))]
        stat, data = path.stat(), path.read_bytes()
        path.write_bytes(chunks[bench.rng.integers(len(chunks))].read_bytes())
        ended = run(bench.works[name], out)
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        row.tries += 1
        if told(name, ended) and "volume.revision" in ended.said:
            row.outcomes["refused by name; with the old chunk back, resumed, identical"] += 1
        else:
            row.wrong.append(str(ended))
        again = run(bench.works[name], out)
        row.wrong += bench.wrong(name, out) if again.done else [str(again)]
    return row


def jumping_clock(seed: int) -> Callable[[], None]:
    """What makes a process's clock jump by up to ten years, either way, whenever it is asked."""

    def patch() -> None:
        rng, now = np.random.default_rng(seed), time.time
        time.time = lambda: now() + rng.uniform(-3e8, 3e8)
        time.time_ns = lambda: int(1e9 * time.time())

    return patch


def jumped(bench: Bench, name: str, tries: int) -> Row:
    """The clock jumps while a job runs, is killed and goes on, and its files bear any date."""
    row = Row(f"clock jumps, {name}")
    for n in range(tries):
        out = bench.fresh(f"{name}-jumped")
        bench.cut_off(name, out)
        for path in out.rglob("*") if out.exists() else ():
            os.utime(path, (bench.rng.uniform(0, 4e9),) * 2)
        ended = run(bench.works[name], out, jumping_clock(n))
        row.tries += 1
        row.wrong += bench.wrong(name, out) if ended.done else [str(ended)]
        row.outcomes["resumed, identical"] += ended.done
    return row
