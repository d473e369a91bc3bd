"""Targets: everything that makes a network: cards, weights, adapters, bioimage.io packages, folders of models."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import yaml

from napari_connecto.core.errors import ConnectoError
from napari_connecto.models.files import load_model, new_model, read_card, save_model
from napari_connecto.models.nets.nets import KINDS, check_card
from napari_connecto.models.nets.weights import fill_weights
from napari_connecto.models.transfer.adapter import Adapter, merge, parse_adapter
from napari_connecto.sample_data import shipped_folder
from napari_connecto.workflows.adapt.domains import Domain
from napari_connecto.workflows.cascade.cascade import Cascade, load_cascade
from napari_connecto.workflows.cascade.document import describe_cascade
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.packages.import_model import import_model
from napari_connecto.workflows.recipes.parts import tuned_params
from napari_connecto.workflows.xray.document import describe_translator
from napari_connecto.workflows.xray.translator import load_translator
from tests import packages
from tests.fuzzing.mutate import bytes_faults, json_text, mutated, text_faults
from tests.fuzzing.target import Target, deep
from tests.models.cards import SCORER_3D, SMP_25D, UNET_2D
from tests.workflows.fakes import calibration


def cards(folder: Path) -> Target:
    """A broken card beside sound weights; an accepted model answers for one tile, if that is small."""
    found = {}
    for name, card in (("scorer", SCORER_3D), ("unet", UNET_2D), ("smp", SMP_25D)):
        save_model(new_model(card, 0, device="cpu"), folder / name)
        found[folder / name / "card.json"] = json.loads((folder / name / "card.json").read_text())

    def feed(made: tuple[Path, bytes]) -> None:
        made[0].write_bytes(made[1])
        card = read_card(made[0].parent)
        if card.network.get("kind") in KINDS:
            check_card(card)
        if deep(made[1]):
            _called(load_model(made[0].parent, device="cpu", backend="torch"))

    def make(rng: Random) -> tuple[Path, bytes]:
        path = rng.choice(sorted(found)[:: rng.choice((1, -1, -1))][:2])  # that of smp is slow
        return path, json_text(rng, found[path])

    return Target("model cards", make, feed)


def _called(model: Any) -> None:
    card = model.card
    shape = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    if np.prod(shape, dtype=float) * card.channels <= 2**16:
        model(np.zeros((1, card.channels, *shape), np.float32), [0])


def weights(folder: Path) -> Target:
    """A safetensors file with a broken header, whose digest the card states."""
    model = new_model(SCORER_3D, 0, device="cpu")
    save_model(model, folder / "model")
    card, net = json.loads((folder / "model/card.json").read_text()), deepcopy(model.net)
    header, body = _parted(model.weights)

    def feed(data: bytes) -> None:
        fill_weights(net, data)
        if not deep(data):
            return
        told = {**card, "digest": hashlib.sha256(data).hexdigest()}
        (folder / "model/card.json").write_text(json.dumps(told))
        (folder / "model/weights.safetensors").write_bytes(data)
        _called(load_model(folder / "model", device="cpu", backend="torch"))

    return Target("safetensors files", lambda rng: safetensors(rng, header, body), feed)


def _parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


LENGTHS = (0, 1, 7, 2**20, 100_000_000, 2**31, 2**63 - 1, 2**64 - 1)
DTYPES = ("F32", "F16", "F64", "BF16", "I64", "I8", "U64", "BOOL", "C64", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "X")


def safetensors(rng: Random, header: dict[str, Any], body: bytes) -> bytes:
    """A file with faults in its header, in the header's length or in its bytes."""
    told = mutated(rng, header) if rng.randrange(3) else json.loads(json.dumps(header))
    names = [n for n, v in told.items() if isinstance(v, dict) and "dtype" in v] if isinstance(told, dict) else []
    if names and rng.randrange(2):
        entry = told[rng.choice(sorted(names))]
        entry["dtype"] = rng.choice(DTYPES)
        if rng.randrange(2):
            entry["shape"] = [rng.choice((0, 1, 2, 2**31, 2**62)) for _ in range(rng.randrange(4))]
    text = json.dumps(told).encode()
    if rng.randrange(8) == 0:
        text = text_faults(rng, text)
    length = rng.choice(LENGTHS) if rng.randrange(8) == 0 else len(text)
    data = struct.pack("<Q", length) + text + body
    return bytes_faults(rng, data, len(text)) if rng.randrange(8) == 0 else data


def adapters(folder: Path) -> Target:
    """A broken adapter, merged into its base if it is accepted."""
    base = new_model(UNET_2D, 0, device="cpu")
    state = base.net.state_dict()
    names = [n for n, t in state.items() if t.dim() == 4][:2]
    up = {n: torch.zeros(state[n].shape[0], 1, dtype=torch.float16) for n in names}
    down = {n: torch.zeros(1, state[n][0].numel(), dtype=torch.float16) for n in names}
    bias = {n: t for n, t in state.items() if n.endswith("bias")}
    whole = Adapter(base.card, 1.0, up, down, bias, {n: t.clone() for n, t in bias.items()})
    header, body = _parted(whole.to_bytes())
    inner = json.loads(header["__metadata__"]["adapter"])

    def feed(data: bytes) -> None:
        adapter = parse_adapter(data)
        if deep(data):
            merge(base, adapter)

    def make(rng: Random) -> bytes:
        told = json_text(rng, inner).decode("latin-1") if rng.randrange(2) else header["__metadata__"]["adapter"]
        return safetensors(rng, {**header, "__metadata__": {"adapter": told}}, body)

    return Target("adapters", make, feed)


def descriptions(folder: Path) -> Target:
    """A package (a folder) of a sound network, with a broken ``rdf.yaml``; what is accepted is imported."""
    documents = [packages.rdf5(), packages.rdf4(), packages.rdf5("bcyx", weights=_library())]
    packages.folder(folder / "package", packages.files(documents[0]))

    def feed(text: bytes) -> None:
        (folder / "package/rdf.yaml").write_bytes(text)
        import_model(folder / "package", folder / "out", overwrite=True)

    def make(rng: Random) -> bytes:
        document = rng.choice(documents)
        if rng.randrange(8) == 0:
            return text_faults(rng, yaml.safe_dump(document).encode())
        return yaml.dump(mutated(rng, document), Dumper=yaml.Dumper).encode("utf-8", "surrogatepass")

    for document in documents:  # what has to be loaded is not an input's time
        with suppress(ConnectoError):
            feed(yaml.safe_dump(document).encode())
    return Target("bioimage.io descriptions", make, feed)


def _library() -> dict[str, Any]:
    kwargs = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": [4, 8], "strides": [2]}
    network = {"callable": "UNet", "import_from": "monai.networks.nets", "kwargs": kwargs}
    return {"pytorch_state_dict": {"source": "weights.pt", "pytorch_version": "2.0", "architecture": network}}


def archives(folder: Path) -> Target:
    """A zipped package with broken bytes, from its directory to its TorchScript."""
    made = packages.files(packages.rdf5())
    whole = packages.zipped(folder / "whole.zip", made).read_bytes()

    def feed(given: tuple[str, bytes]) -> None:
        name, data = given
        if name:
            packages.zipped(folder / "p.zip", {**made, name: data})
        else:
            (folder / "p.zip").write_bytes(data)
        import_model(folder / "p.zip", folder / "out", overwrite=True)

    def make(rng: Random) -> tuple[str, bytes]:
        name = rng.choice(("", "", "weights.pt", "in.npy", "out.npy"))
        return name, bytes_faults(rng, made[name] if name else whole)

    return Target("bioimage.io archives", make, feed)


def folders(folder: Path) -> Target:
    """Cascades, domains and translators: one of their documents or arrays is broken."""
    shipped, stage = shipped_folder(), new_model(SCORER_3D, 0, device="cpu")
    cascade = Cascade("tiny", (stage, stage), ObjectRule("masks", 0.5, 8000.0, 4), calibration(((1, 2, 2),)))
    cascade.save(folder / "cascade")
    shutil.copytree(shipped / "translators/synthetic", folder / "translator")
    told = json.loads((folder / "translator/translator.json").read_text())
    (folder / "translator/translator.json").write_text(json.dumps({**told, "members": 1}))
    save_model(stage, folder / "domain")
    for name in ("domain.json", "features.npy", "patches.npz"):
        shutil.copy(shipped / "domains/synthetic-neuropil" / name, folder / "domain")
    for name in ("gate.json", "gate.npz"):
        for place in ("cascade", "domain"):
            shutil.copy(shipped / "cascades/cells" / name, folder / place)
    documents = {p: json.loads(p.read_text()) for p in folder.glob("*/*.json") if p.name != "card.json"}
    arrays = {p: p.read_bytes() for p in folder.glob("*/*.np[yz]")}
    whole = {p: p.read_bytes() for p in (*documents, *arrays)}
    for name, loader in LOADERS.items():  # what is imported on the way is no part of the time allowed
        loader(folder / name)

    def feed(made: tuple[Path, bytes]) -> None:
        path, data = made
        path.write_bytes(data)
        try:
            LOADERS[path.parent.name](path.parent)
        finally:
            path.write_bytes(whole[path])

    def make(rng: Random) -> tuple[Path, bytes]:
        path = rng.choice(sorted(whole))
        return path, json_text(rng, documents[path]) if path in documents else bytes_faults(rng, arrays[path], 200)

    return Target("cascades, domains, translators", make, feed)


def _cascade(folder: Path) -> None:
    describe_cascade(folder)
    load_cascade(folder, device="cpu", backend="torch").choose()


def _domain(folder: Path) -> None:
    domain = Domain.load(folder)
    domain.gate()
    domain.patches()
    tuned_params(folder)


def _translator(folder: Path) -> None:
    describe_translator(folder)
    load_translator(folder, device="cpu", backend="torch").predictor()


LOADERS: dict[str, Callable[[Path], None]] = {"cascade": _cascade, "domain": _domain, "translator": _translator}
