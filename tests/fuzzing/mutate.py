"""Breaking valid documents: a value here, a key there, then the text. Ours.

Documents are mutated by structure, for mutated bytes hardly get past a JSON parser, a checksum or a digest. All choices
are those of a `random.Random`: hypothesis passes one whose choices it makes and shrinks (``st.randoms()``), the
benchmark one that is seeded by the number of the input.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63)),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e-30, 1e30, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
]
TEXTS = [
    *("", " ", "a", "0", "-1", "nan", "1e999", "none", "true", "é" * 40, "x" * 20_000, "\x00", "\ud800", "\x1b[2J\n\r"),
    *("..", "../../x", "/etc/passwd", "/dev/zero", "\\\\host\\x", "C:\\x", "~", "a/b", "a\\b", "*", "%s", "{0}"),
    *("http://127.0.0.1:9/x", "file:///etc/passwd", "s3://b/k", "hf-hub:a/b", "tu-hf-hub:a/b", "memory://x"),
    *("object", "|O", "<U4", ">f8", "uint8", "int64", "complex64", "pickle", "blosc", "zstd", "micrometer", "space"),
]
CONTAINERS: list[Any] = [[], {}, [[]], [None], [0] * 1000, [1, 2, 3], {"a": 1}, {"": {"": {}}}, [[1, 2], [3]]]
Path = tuple[Any, ...]


def odd(rng: Random) -> Any:
    """A value that nobody expects, or any number."""
    kind = rng.randrange(8)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return copy.deepcopy(rng.choice(CONTAINERS))
    if kind == 6:
        return rng.choice([None, True, False])
    return rng.choice([rng.randint(-9, 300), rng.uniform(-2, 2), 10.0 ** rng.randint(-300, 300)])


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Where every value inside a document is; the document itself first."""
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*here, key))


def at(value: Any, path: Path) -> Any:
    """What lies at a path."""
    for key in path:
        value = value[key]
    return value


def mutated(rng: Random, document: Any, keep: Sequence[str] = ()) -> Any:
    """A document with one to three faults; keys of ``keep`` at its top are left alone."""
    if not keep and rng.randrange(40) == 0:
        return odd(rng)
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = [p for p in paths(document) if p and p[0] not in keep]
        if places:
            _break(rng, document, rng.choice(places), places)
    return document


def _break(rng: Random, document: Any, path: Path, places: list[Path]) -> None:
    parent, key = at(document, path[:-1]), path[-1]
    value, fault = parent[key], rng.randrange(9)
    if fault == 0:
        del parent[key]
    elif fault == 1 and isinstance(parent, dict):
        parent[rng.choice([*TEXTS[:12], "path", "type", "name", "data", key])] = parent.pop(key)
    elif fault == 1:
        parent.extend([copy.deepcopy(value)] * rng.choice((1, 2, 100)))
    elif fault == 2:
        parent[key] = copy.deepcopy(at(document, rng.choice(places)))
    elif fault < 5 and isinstance(value, int | float):
        parent[key] = value * rng.choice((-1, 0, 0.5, 2, 1000, 1e9, 2**40))
    elif fault == 5 and isinstance(value, list) and value:
        parent[key] = [odd(rng)] * len(value)
    else:
        parent[key] = odd(rng)


def json_text(rng: Random, document: Any) -> bytes:
    """The bytes of a mutated JSON document; one in eight is broken as text too."""
    text = json.dumps(mutated(rng, document)).encode()
    return text_faults(rng, text) if rng.randrange(8) == 0 else text


def text_faults(rng: Random, text: bytes) -> bytes:
    """Text that is cut, has foreign bytes in it, the same key twice, or is far too deep."""
    fault, place = rng.randrange(8), rng.randint(0, len(text))
    if fault == 0:
        return text[:place]
    if fault == 1:
        return text[:1] + text[1:-1] + b"," + text[1:]
    inner = (b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"NaN", rng.randbytes(rng.randint(1, 6)))
    return text[:place] + inner[fault - 2] + text[place:]


def bytes_faults(rng: Random, data: bytes, head: int | None = None) -> bytes:
    """Bytes of a file with one to four faults, most of them in its first ``head`` bytes."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        end = len(found) if head is None or rng.randrange(5) == 0 else min(head, len(found))
        place, fault = rng.randint(0, max(0, end - 1)), rng.randrange(6)
        if fault == 0:
            del found[place:]
        elif fault == 1:
            found[place : place + 8] = rng.choice((b"\xff" * 8, bytes(8), b"\x7f" + b"\xff" * 7))
        elif fault == 2:
            found[place:place] = rng.randbytes(rng.randint(1, 8))
        elif fault == 3:
            del found[place : place + rng.randint(1, 16)]
        elif place < len(found):
            found[place] = rng.randrange(256)
    return bytes(found)
