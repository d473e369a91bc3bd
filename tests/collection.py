"""A web server on this machine that plays the part of the collection of bioimage.io."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
import torch
import yaml
from torch import nn
from werkzeug import Request, Response
from werkzeug.serving import make_server

from tests import packages

ROUTE = re.compile(r"/bioimage-io/artifacts/([^/]+)/files/(.*)")


@dataclass
class Collection:
    """Files of models by name; answers as the collection does.

    A folder's address gives a JSON list of its files, a file's address redirects to storage, which can send a part.

    Parameters
    ----------
    cut
        Answers of storage end after so many bytes, once per entry.
    held
        Answers of storage stop after 1000 bytes until it is set.
    whole
        Storage ignores that only a part is asked for.
    asked
        Path and range of every request.
    """

    models: dict[str, dict[str, bytes]]
    address: str = ""
    cut: list[int] = field(default_factory=list)
    held: Event | None = None
    whole: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        """What ``BIOIMAGEIO_COLLECTION_HTTP_PATTERN`` is to say."""
        return self.address + "/bioimage-io/artifacts/{bioimageio_id}/files/rdf.yaml"

    def __call__(self, request: Request) -> Response:
        self.asked.append((request.path, request.headers.get("Range", "")))
        if request.path.startswith("/storage/"):
            _, _, ident, name = request.path.split("/", 3)
            return self._stored(request, self.models[ident][name])
        found = ROUTE.fullmatch(request.path)
        files = self.models.get(found[1]) if found else None
        if found is None or files is None:
            return _json({"detail": "Artifact not found"}, 404)
        name = found[2]
        if name == "" or name.endswith("/"):
            return _json(_listed(files, name))
        if name not in files:
            return _json({"detail": "File not found"}, 404)
        return Response(status=307, headers={"Location": f"{self.address}/storage/{found[1]}/{name}"})

    def _stored(self, request: Request, data: bytes) -> Response:
        part, status, headers = data, 200, {}
        if request.range is not None and not self.whole:
            start = request.range.ranges[0][0]
            part, status = data[start:], 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        headers["Content-Length"] = str(len(part))
        if self.cut and request.method == "GET" and len(part) > self.cut[0] and not request.path.endswith("rdf.yaml"):
            return Response(iter([part[: self.cut.pop(0)]]), status, headers)
        if self.held is not None and request.method == "GET":
            return Response(_slowly(part, self.held), status, headers)
        return Response(part, status, headers)


def _slowly(data: bytes, held: Event) -> Iterator[bytes]:
    yield data[:1000]
    held.wait(60)
    yield data[1000:]


def _listed(files: dict[str, bytes], folder: str) -> list[dict[str, object]]:
    inside = {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
    listed: list[dict[str, object]] = [
        {"type": "file", "name": name, "size": len(data), "last_modified": 1732363845.0}
        for name, data in inside.items()
        if "/" not in name
    ]
    folders = {name.split("/")[0] for name in inside if "/" in name}
    return listed + [{"type": "directory", "name": name} for name in sorted(folders)]


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")


@contextmanager
def served(models: dict[str, dict[str, bytes]]) -> Iterator[Collection]:
    """The collection, while it can be reached at its ``address``."""
    collection = Collection(models)
    server = make_server("127.0.0.1", 0, Request.application(collection), threaded=True)
    collection.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collection
    finally:
        server.shutdown()
        server.server_close()


def published(made: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    """A package as the collection has it: its description states the SHA-256 of each file."""
    raw = yaml.safe_load(made["rdf.yaml"])

    def stated(entry: dict[str, str]) -> None:
        entry["sha256"] = hashlib.sha256(made[entry["source"]]).hexdigest()

    for tensor in (*raw["inputs"], *raw["outputs"]):
        stated(tensor["test_tensor"])
    for weights in raw["weights"].values():
        stated(weights)
    raw |= {"id": "tiny-fly", "version": "1.2", **changes}
    return {**made, "rdf.yaml": yaml.safe_dump(raw).encode()}


def dark(nm: float, sharp: float = 20.0, outputs: tuple[str, ...] = ("membrane",)) -> dict[str, bytes]:
    """A package (TorchScript) that takes the dark parts of a slightly smoothed image for membranes."""
    module, x = nn.Conv2d(1, len(outputs), 3, padding=1).eval(), packages.image()
    with torch.no_grad():
        module.weight.fill_(-sharp / 9)
        module.bias.fill_(0.4 * sharp)
    raw = packages.rdf5(nm=nm)
    channel = next(axis for axis in raw["outputs"][0]["axes"] if axis["type"] == "channel")
    channel["channel_names"] = list(outputs)
    out = packages.npy(packages.sigmoid(packages.run(module, packages.scaled(x))).astype(np.float32))
    return packages.files(raw, weights_pt=packages.script(module), out_npy=out)
