"""``kill -9`` at random moments."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _faults_jobs import Work, differences, half_written, kill, over, run, stage, start, wait, works
from _faults_session import Annotator, kept_events


@dataclass
class Row:
    """A line of the table: what was done to what, how often, and how it ended."""

    fault: str
    tries: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{n} {what}" for what, n in self.outcomes.most_common())
        return f"| {self.fault} | {self.tries} | {told + '; ' if told else ''}{len(self.wrong)} wrong |"


@dataclass(frozen=True)
class Reference:
    """A result that nothing disturbed, and how long its job took until its first report, and from there."""

    out: Path
    starting_s: float
    working_s: float

    @property
    def seconds(self) -> float:
        """In all."""
        return self.starting_s + self.working_s


def until_at_work(process: int, out: Path) -> None:
    """Wait for a job's first report, or stroke, or its end."""
    log, kept = out.with_name(f"{out.name}.log"), Path(f"{out}.kept")
    while not over(process) and not (log.exists() and log.stat().st_size) and not kept.exists():
        time.sleep(0.002)


class Bench:
    """The jobs in a folder, their undisturbed results, and how long those took."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, np.random.default_rng(seed)
        self.works = works(folder)
        self.annotator = Annotator(folder / "em.ome.zarr")
        self.works["annotate"] = Work("annotate", self.annotator, self.annotator.volume)
        self.references: dict[str, Reference] = {}

    def reference(self, name: str) -> Reference:
        """Of the undisturbed run."""
        if name not in self.references:
            out, begin = self.fresh(f"{name}-undisturbed"), time.monotonic()
            log = out.with_name(f"{out.name}.log")
            process = start(lambda: self.works[name].run(out), log)
            until_at_work(process, out)
            begun = time.monotonic()
            ended = wait(process, log)
            assert ended.done, ended
            self.references[name] = Reference(out, begun - begin, time.monotonic() - begun)
        return self.references[name]

    def fresh(self, name: str) -> Path:
        """A path where nothing is."""
        out = self.folder / "runs" / name
        out.parent.mkdir(exist_ok=True)
        for old in out.parent.glob(f"{name}*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        return out

    def wrong(self, name: str, out: Path) -> list[str]:
        """In what a result is not as undisturbed."""
        reference = self.reference(name).out
        if name != "annotate":
            return differences(out, reference)
        told = Path(f"{reference}.json")
        got, wanted = self.summary(out), json.loads(told.read_text()) if told.exists() else self.summary(reference)
        return [f"{key}: {got[key]}, not {wanted[key]}" for key in wanted if got.get(key) != wanted[key]]

    def half_written(self, name: str, out: Path) -> list[str]:
        """What of an unfinished result passes for done and is not as undisturbed."""
        if name != "annotate":
            return half_written(out, self.reference(name).out)
        if not (out / "job.json").exists():
            return []
        told, kept = self.summary(out), kept_events(out)
        lost = [f"{kept - told['events']} events lost"] if told.get("events", 0) < kept else []
        return lost + [f"stroke {n} lost" for n in told.get("lost strokes", [])] + told.get("failed", [])

    def summary(self, out: Path) -> dict:
        """Of a session, made in a process of its own."""
        ended = run(Work("summary", lambda _: self.annotator.summary(out)), out.with_name(f"{out.name}-summary"))
        return json.loads(Path(f"{out}.json").read_text()) if ended.done else {"failed": [str(ended)]}

    def cut_off(self, name: str, out: Path) -> bool:
        """Start a job and kill it; whether it still ran."""
        return kill(self.started(name, out))

    def started(self, name: str, out: Path) -> int:
        """The process of a job at a random moment, one time in five before it is at work."""
        log, usual = out.with_name(f"{out.name}.log"), self.reference(name)
        process = start(lambda: self.works[name].run(out), log)
        if self.rng.random() < 0.2:
            time.sleep(self.rng.uniform(0, usual.starting_s))
        else:
            until_at_work(process, out)
            time.sleep(self.rng.uniform(0, usual.working_s))
        return process


def killed(bench: Bench, name: str, kills: int) -> Row:
    """Kill at random moments, up to three times in a row, then let it finish."""
    row = Row(f"`kill -9` during {name}")
    stages: Counter[str] = Counter()
    while row.tries < kills:
        out = bench.fresh(f"{name}-killed")
        for _ in range(bench.rng.integers(1, 4)):
            if row.tries == kills or not bench.cut_off(name, out):
                break
            row.tries += 1
            stages[stage(out)] += 1
            row.wrong += bench.half_written(name, out) if out.exists() else []
        ended = run(bench.works[name], out)
        row.wrong += bench.wrong(name, out) if ended.done else [str(ended)]
    row.outcomes[f"resumed, identical (killed in {', '.join(f'{s} {n}' for s, n in stages.most_common())})"] = (
        row.tries if not row.wrong else 0
    )
    return row


def two_at_once(bench: Bench, name: str, tries: int) -> Row:
    """A second process comes to the folder of one that is at work."""
    row = Row(f"two processes on one folder, {name}")
    for _ in range(tries):
        out = bench.fresh(f"{name}-shared")
        logs = [out.with_name(f"{out.name}-{n}.log") for n in (1, 2)]
        first = start(lambda out=out: bench.works[name].run(out), logs[0])
        time.sleep(bench.rng.uniform(0, 0.9 * bench.reference(name).seconds))
        second = start(lambda out=out: bench.works[name].run(out), logs[1])
        ends = [wait(process, log) for process, log in zip((first, second), logs, strict=True)]
        row.tries += 1
        refused = [e for e in ends if e.told and "is in use by another process" in e.said]
        row.outcomes["one refused, the other whole" if refused else "one after the other"] += 1
        if len(refused) + sum(e.done for e in ends) != 2 or len(refused) == 2:
            row.wrong.append(" / ".join(map(str, ends)))
        row.wrong += bench.wrong(name, out)
    return row
