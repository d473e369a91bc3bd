"""A little of `benchmarks/fuzz.py`: the same inputs, few of them. What it found once is in `test_hostile` by name."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ConnectoError
from tests.fuzzing.mutate import json_text, mutated, paths
from tests.fuzzing.target import ConnectedError, Target, TooSlowError, accepted
from tests.fuzzing.targets import TARGETS, make_target

LIGHT = ("logs", "tables", "points", "safetensors", "adapters", "cards", "arguments")
FEW, MANY = 30, 100


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_our_errors_comes_out(name: str, tmp_path: Path) -> None:
    target, outcomes = make_target(name, tmp_path), set()
    for number in range(MANY if name in LIGHT else FEW):
        outcomes.add(accepted(target, target.make(Random(f"{name} {number}"))))
    assert False in outcomes


@given(st.randoms(use_true_random=False))
def test_faults_are_faults_and_leave_the_document_alone(rng: Random) -> None:
    document = {"a": [1, {"b": "c"}], "d": 2.0}
    places = list(paths(document))
    broken = mutated(rng, document, keep=("d",))
    assert document == {"a": [1, {"b": "c"}], "d": 2.0}
    assert broken["d"] == 2.0
    assert places == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("d",)]


@given(st.randoms(use_true_random=False))
def test_json_is_read_as_the_standard_library_reads_it_or_refused(rng: Random) -> None:
    text = json_text(rng, {"a": [1, {"b": "c"}], "d": 2.0})
    with suppress(ConnectoError):
        assert parse_json(text, "it") == json.loads(text)


def test_an_attempt_ends_in_one_of_four_ways() -> None:
    def target(feed: object) -> Target:
        return Target("", lambda rng: 0, feed)  # type: ignore[arg-type]

    def dawdle(value: int) -> None:
        while True:
            value += 1

    def refuse(value: int) -> None:
        raise ConnectoError("got 0; give 1")

    def connect(value: int) -> None:
        socket.create_connection(("127.0.0.1", 9))

    assert accepted(target(lambda value: None), 0)
    assert not accepted(target(refuse), 0)
    with pytest.raises(TooSlowError):
        accepted(target(dawdle), 0, seconds=0.05)
    with pytest.raises(ConnectedError):
        accepted(target(connect), 0)
    with pytest.raises(ZeroDivisionError):
        accepted(target(lambda value: 1 // value), 0)
