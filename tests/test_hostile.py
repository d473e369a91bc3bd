"""Input that means harm, or could: each is refused with one clear line, and nothing it names is fetched or run."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import socket
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import zarr

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ChunkError, ConnectoError, InputError, ModelError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.limits.inflate import inflated
from napari_connecto.io.packages.plain_data import safe_arrays
from napari_connecto.io.stores.event_log import EventLog
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.workflows.adapt.annotate.session import Session, patch_states
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.cascade.document import read_document
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.recipes.recipe import read_recipe, recipe_job
from napari_connecto.workflows.shared.em_labels import to_em
from tests.models.cards import SCORER_3D, SMP_25D, UNET_3D


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Nothing connects nor looks up a name; what tried to is listed."""
    asked: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> None:
        asked.append(args)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


def noise(shape: tuple[int, ...] = (8, 16, 16)) -> Volume:
    """A volume of uint8."""
    return Volume.from_array(np.random.default_rng(0).integers(0, 255, shape, np.uint8), (40.0, 8.0, 8.0))


def changed(path: Path, **values: Any) -> None:
    """Replace entries of a JSON document."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# errors themselves


def test_a_message_is_one_printable_line_whatever_it_quotes() -> None:
    error = InputError(f"got {'x' * 10_000}\n\x1b[2J\x00 and \ud800; give less")
    line = str(error)
    assert len(line) < 900
    assert line.isprintable()
    assert line.endswith("; give less")
    assert str(InputError("got 1;\n give 2")) == "got 1; give 2"


# JSON


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "not valid JSON"),
        (b"[" * 70 + b"]" * 70, "more than 64 levels"),
        (b'{"name": 1, "b": {"x": 1, "x": 2}}', "the key 'x' occurs twice"),
        (b'{"name": "\xff"}', "invalid start byte"),
        (b'{"name": "\\ud800"}', "surrogates not allowed"),
        (b"9" * 5000, "Exceeds the limit"),
    ],
)
def test_json_that_is_read_by_none_of_our_readers(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"cannot read it: .*{message}.*; copy it again"):
        parse_json(text, "it")
    save_model(new_model(SCORER_3D, 0, device="cpu"), tmp_path)
    for name in ("card.json", "cascade.json", "other.json"):
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)
    with pytest.raises(ModelError, match=message):
        read_document(tmp_path)
    with pytest.raises(StoreError, match=message):
        read_json(tmp_path / "other.json")


def test_an_event_that_is_none_is_not_taken_for_a_cut_line(tmp_path: Path) -> None:
    from zlib import crc32

    log = EventLog(tmp_path / "log")
    log.append({"a": 1})
    for body in (b"[1]", b"{", b"[" * 5000, b'{"a": 1, "a": 2}'):
        whole = b"%08x %s\n" % (crc32(b'{"a": 1}'), b'{"a": 1}') + b"%08x %s\n" % (crc32(body), body)
        (tmp_path / "log").write_bytes(whole)
        with pytest.raises(StoreError, match="restore the folder's copy"):
            EventLog(tmp_path / "log").events()
        with pytest.raises(StoreError, match="restore the folder's copy"):
            EventLog(tmp_path / "log").append({"b": 1})
        assert (tmp_path / "log").read_bytes() == whole


# YAML

LAUGHS = "a: &a [lol, lol]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # noqa: B905


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "workflow: !!python/object/apply:os.system ['touch exploded']",
            "the YAML tag 'tag:yaml.org,2002:python/object",
        ),
        ("workflow: !!python/name:os.system", "YAML tag"),
        (LAUGHS + "workflow: detect", "YAML aliases that grow to more than is allowed"),
        ("workflow: detect\nvolume: " + "[" * 10_000, "more than 30 levels"),
        ("workflow: detect\nvolume: \xff".encode("latin-1"), "is not YAML"),
        ("? [a, b]\n: detect\nworkflow: detect", "is not YAML|is not a recipe|unhashable|unknown"),
    ],
)
def test_recipes_hold_plain_values_only(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "r.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        next(recipe_job(read_recipe(tmp_path / "r.yaml")))
    assert not (tmp_path / "exploded").exists()


# cards and weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder."""
    save_model(new_model(SCORER_3D, 0, device="cpu"), tmp_path / "model")
    return tmp_path / "model"


def weights(folder: Path, data: bytes) -> None:
    """Replace the weights, and the digest with them."""
    (folder / "weights.safetensors").write_bytes(data)
    changed(folder / "card.json", digest=hashlib.sha256(data).hexdigest())


def tensors(header: Any, body: bytes = bytes(64), length: int | None = None) -> bytes:
    """A safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"w": 1}),
        tensors({"a": ONE}, length=2**63),
        tensors({"a": ONE}, length=2**64 - 1),
        tensors({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12)),
        tensors({"a": ONE, "b": ONE}, bytes(8)),
        tensors({"a": {**ONE, "data_offsets": [8, 0]}}),
        tensors({"a": {**ONE, "data_offsets": [0, 2**62]}}),
        tensors({"a": {**ONE, "shape": [2**62, 2**62]}}),
        tensors({"a": {**ONE, "shape": [-2]}}),
        tensors({"a": {**ONE, "dtype": "OBJECT"}}),
        tensors(b"[" * 100_000),
        b"",
    ],
)
def test_weights_that_are_none(model: Path, data: bytes) -> None:
    weights(model, data)
    with pytest.raises(ModelError, match=r"not a valid safetensors file .*export it again"):
        load_model(model, device="cpu", backend="torch")


def test_weights_of_nan_and_of_complex_numbers(model: Path) -> None:
    whole = (model / "weights.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + size]), bytearray(whole[8 + size :])
    name = next(n for n, t in header.items() if t["dtype"] == "F32")
    start = header[name]["data_offsets"][0]
    body[start : start + 4] = struct.pack("<f", float("nan"))
    weights(model, tensors(header, bytes(body)))
    with pytest.raises(ModelError, match=f"tensor '{name}' holds NaN or infinity"):
        load_model(model, device="cpu", backend="torch")
    weights(model, tensors({"a": {**ONE, "shape": [1] * 100 + [2]}}, bytes(8)))
    with pytest.raises(ModelError, match="tensor 'a' has 101 axes; allowed are 8"):
        load_model(model, device="cpu", backend="torch")
    weights(model, tensors({"a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)))
    with pytest.raises(ModelError, match=r"is of type torch\.complex64; allowed are real numbers"):
        load_model(model, device="cpu", backend="torch")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"tile": [2**31, 2**31, 2**31]}, "tiles of .* channels; allowed"),
        ({"tile": [8, 16384, 16384], "halo": [0, 0, 0]}, "tiles of .* channels; allowed"),
        ({"halo": [2**63, 0, 0]}, "tiles of|does not fit|0 to the halo"),
        ({"channels": 2**40}, "tiles of .* channels"),
        ({"voxel_nm": [float("nan"), 4, 4]}, "voxel_nm"),
        ({"voxel_nm": [1e308, 4, 4]}, "voxel_nm"),
        ({"voxel_nm": [1e-320, 4, 4]}, "voxel_nm"),
        ({"network": [1]}, "network .* must be a mapping"),
        ({"name": {"a": 1}}, "name .* must be text"),
        ({"network": {"kind": "scorer", "dims": 3, "width": 10**9, "stride": [2, 4, 4]}}, "width 1000000000; allowed"),
        ({"network": {"kind": "scorer", "dims": 3, "width": 4, "stride": [2, 4, 2**61 - 1]}}, "stride .*; allowed"),
        ({"network": {"kind": "scorer", "dims": 3, "width": 4096, "stride": [2, 4, 4]}}, "more than 134217728 weights"),
        ({"network": {"kind": "unet", "dims": 3, "width": 4, "depth": 10**12}}, "depth 1000000000000; allowed: 1 to 8"),
        ({"network": {"kind": "unet", "dims": 3, "width": 4, "residual": 10**9}}, "residual"),
    ],
)
def test_cards_beyond_reason(model: Path, card: dict[str, Any], message: str) -> None:
    changed(model / "card.json", **card)
    with pytest.raises(ModelError, match=message):
        load_model(model, device="cpu", backend="torch")


@pytest.mark.parametrize("name", ["tu-hf-hub:a/b", "timm-hf_hub:a/b", "tu-local-dir:/etc", "../x", "a" * 200, 3])
def test_an_encoder_is_never_looked_up_elsewhere(tmp_path: Path, name: Any, no_network: list[Any]) -> None:
    save_model(new_model(SMP_25D, 0, device="cpu"), tmp_path)
    changed(tmp_path / "card.json", network={"kind": "smp", "encoder": name, "depth": 3, "width": 4})
    with pytest.raises(ModelError, match="which is not a plain name"):
        load_model(tmp_path, device="cpu", backend="torch")
    assert no_network == []


def test_links_that_lead_out_of_a_models_folder(model: Path, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "card.json"):
        (model / name).rename(tmp_path / name)
        (model / name).symlink_to(tmp_path / name)
        with pytest.raises(ModelError, match=rf"{name} in .* is a link to a file outside of it"):
            load_model(model, device="cpu", backend="torch")
        (model / name).unlink()
        (tmp_path / name).rename(model / name)
    (tmp_path / "link").symlink_to(model)
    assert load_model(tmp_path / "link", device="cpu", backend="torch").card.name == "small"


def test_a_card_that_names_addresses_connects_to_none(tmp_path: Path, no_network: list[Any]) -> None:
    save_model(new_model(UNET_3D, 0, device="cpu"), tmp_path)
    place = "http://127.0.0.1:9/x"
    changed(tmp_path / "card.json", training=place, licence=place, metrics={"url": place})
    assert load_model(tmp_path, device="cpu", backend="torch").card.training == place
    assert no_network == []


# arrays in files of numpy


def test_npz_files_are_checked_by_what_they_declare(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(2**20, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 5000
    with pytest.raises(ModelError, match="take 1048704 bytes, allowed are 1000000"):
        safe_arrays(tmp_path / "a.npz", 10**6)
    np.savez(tmp_path / "b.npz", x=np.array([{}], object))
    with pytest.raises(ModelError, match="values of type object"):
        safe_arrays(tmp_path / "b.npz")


# OME-Zarr


@pytest.fixture(params=["0.4", "0.5"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pyramid of one level."""
    save_volume(noise(), tmp_path / "i.ome.zarr", levels=1, version=request.param)
    return tmp_path / "i.ome.zarr"


def level_document(store: Path) -> Path:
    return store / "0/zarr.json" if (store / "zarr.json").exists() else store / "0/.zarray"


def chunks(store: Path, shape: list[int]) -> None:
    document = level_document(store)
    if document.name == ".zarray":
        changed(document, chunks=shape)
    else:
        changed(document, chunk_grid={"name": "regular", "configuration": {"chunk_shape": shape}})


@pytest.mark.parametrize("shape", [[2**31] * 3, [2**20, 2**20, 1], [1, 1, 2**31 + 1]])
def test_chunk_shape_bombs(store: Path, shape: list[int]) -> None:
    chunks(store, shape)
    with pytest.raises(InputError, match="decoded as a whole; allowed are 1 to 2147483648 bytes"):
        open_volume(store)


@pytest.mark.parametrize("shape", [[2**63, 1, 1], [2**31, 2**31, 2**31], [10**30, 1, 1]])
def test_shapes_beyond_reason(store: Path, shape: list[int]) -> None:
    changed(level_document(store), shape=shape)
    with pytest.raises(InputError, match=r"2\^62 voxels|cannot open"):
        open_volume(store)


@pytest.mark.parametrize("shape", [[0, 16, 16], [-8, 16, 16], [8.5, 16, 16], ["8", 16, 16], [True, None, 1], [], 5])
def test_shapes_that_are_none(store: Path, shape: Any) -> None:
    changed(level_document(store), shape=shape)
    with pytest.raises(InputError):
        open_volume(store)


def test_a_large_sparse_store_is_opened_and_read_in_parts(store: Path) -> None:
    changed(level_document(store), shape=[2**20, 2**20, 2**20])
    level = open_volume(store).levels[0]
    assert level.shape == (2**20, 2**20, 2**20)
    corner = level.box.grow([-(2**19) + 2] * 3)
    assert level.read(corner).tolist() == np.zeros((4, 4, 4), int).tolist()


def test_shards_of_too_many_chunks(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(2**10,) * 3, chunks=(1, 1, 1), shards=(2**10,) * 3, dtype="u1")
    with pytest.raises(InputError, match=r"got shards of .* chunks at '.*'; allowed are 4194304"):
        open_volume(tmp_path / "a")


def metadata(store: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The group's document, all of it and the OME part in it."""
    path = store / "zarr.json" if (store / "zarr.json").exists() else store / ".zattrs"
    document = json.loads(path.read_text())
    return path, document, document["attributes"]["ome"] if path.name == "zarr.json" else document


@pytest.mark.parametrize(
    "scale",
    [
        [float("nan"), 8, 8],
        [float("inf"), 8, 8],
        [1e308, 1e308, 1e308],
        [1e-320, 8, 8],
        [0, 8, 8],
        [-1, 8, 8],
        [10**400, 8, 8],
        ["8", 8, 8],
        [8, 8],
        8,
        None,
    ],
)
def test_scales_that_are_no_sizes(store: Path, scale: Any) -> None:
    path, document, ome = metadata(store)
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale
    path.write_text(json.dumps(document))
    with pytest.raises(InputError):
        open_volume(store)


@pytest.mark.parametrize(
    "where", ["../outside.zarr", "/etc", "a/../../outside.zarr", "http://127.0.0.1:9/x", "s3://b/k"]
)
def test_levels_outside_the_store(store: Path, tmp_path: Path, where: str, no_network: list[Any]) -> None:
    zarr.create_array(str(tmp_path / "outside.zarr"), data=np.ones((8, 16, 16), np.uint8))
    path, document, ome = metadata(store)
    ome["multiscales"][0]["datasets"][0]["path"] = where
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"i\.ome\.zarr"):
        open_volume(store)
    assert no_network == []


def test_an_image_that_names_addresses_connects_to_none(store: Path, no_network: list[Any]) -> None:
    path, document, ome = metadata(store)
    ome["multiscales"][0]["name"] = "http://127.0.0.1:9/x"
    ome["omero"] = {"channels": [{"label": "http://127.0.0.1:9/y"}], "source": "s3://bucket/key"}
    path.write_text(json.dumps(document))
    assert open_volume(store).levels[0].shape == (8, 16, 16)
    assert no_network == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"multiscales": ' * 5000, "\udcff", "7", '"x"', "null", "[]"])
def test_metadata_that_are_none(store: Path, text: str) -> None:
    path, _, _ = metadata(store)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError):
        open_volume(store)


class Bomb:
    """What runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return self.path.touch, ()


@pytest.mark.parametrize("dtype", ["|u1", "|O"])
@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_codecs_that_unpickle_are_never_run(
    tmp_path: Path, place: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)  # as before numcodecs 0.16
    save_volume(noise(), tmp_path / "i.ome.zarr", levels=1, version="0.4")
    codec = {"id": "pickle", "protocol": 4}
    told = {"compressor": None, "filters": None, "dtype": dtype, "fill_value": None}
    changed(tmp_path / "i.ome.zarr/0/.zarray", **{**told, place: [codec] if place == "filters" else codec})
    chunk_of(tmp_path / "i.ome.zarr/0").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(InputError, match=r"i\.ome\.zarr/0'"):
        open_volume(tmp_path / "i.ome.zarr")
    assert not (tmp_path / "exploded").exists()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(4, 8, 8), chunks=(4, 8, 8), dtype=str)
    with pytest.raises(InputError, match="allowed are integers, floats and bool"):
        open_volume(tmp_path / "a")


# chunks that become more than they may

SHAPE, SIZE = (8, 16, 16), 8 * 16 * 16
BIG = bytes(64 * 2**20)
COMPRESSORS: dict[str, tuple[Any, Any, int]] = {
    "blosc": (zarr.codecs.BloscCodec(typesize=1), numcodecs.Blosc(), 3),
    "zstd": (zarr.codecs.ZstdCodec(), numcodecs.Zstd(), 3),
    "gzip": (zarr.codecs.GzipCodec(), numcodecs.GZip(), 3),
    "old gzip": (numcodecs.GZip(), numcodecs.GZip(), 2),
    "zlib": (numcodecs.Zlib(), numcodecs.Zlib(), 2),
    "lz4": (numcodecs.LZ4(), numcodecs.LZ4(), 2),
    "bz2": (numcodecs.BZ2(), numcodecs.BZ2(), 2),
    "lzma": (numcodecs.LZMA(), numcodecs.LZMA(), 2),
}


def chunk_of(store: Path) -> Path:
    return next(p for p in store.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr.json")))


@pytest.mark.parametrize("name", COMPRESSORS)
def test_decompression_bombs(tmp_path: Path, name: str) -> None:
    codec, encoder, version = COMPRESSORS[name]
    data = np.arange(SIZE, dtype=np.uint8).reshape(SHAPE)
    store = tmp_path / "a"
    array = zarr.create_array(str(store), shape=SHAPE, chunks=SHAPE, dtype="u1", compressors=codec, zarr_format=version)
    array[:] = data
    np.testing.assert_array_equal(open_volume(store).levels[0].array[:], data)
    chunk_of(store).write_bytes(bytes(encoder.encode(BIG)))
    with pytest.raises(ChunkError, match=r"is damaged \(it (says that it )?becomes .*by the array's metadata"):
        open_volume(store).levels[0].array[:]


@pytest.mark.parametrize(
    "codec", [zarr.codecs.ZstdCodec(), zarr.codecs.BloscCodec(typesize=1), zarr.codecs.GzipCodec()]
)
@pytest.mark.parametrize("whole", [True, False])
def test_decompression_bombs_in_shards(tmp_path: Path, codec: Any, whole: bool) -> None:
    store, chunk = tmp_path / "a", (4, 16, 16)
    array = zarr.create_array(
        str(store), shape=SHAPE, chunks=chunk, shards=SHAPE, dtype="u1", compressors=codec, zarr_format=3
    )
    array[:] = np.arange(SIZE, dtype=np.uint8).reshape(SHAPE)
    volume = open_volume(store).levels[0].array
    np.testing.assert_array_equal(volume[:], array[:])
    np.testing.assert_array_equal(volume[5:6], array[5:6])
    encoder = {"zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc(), "gzip": numcodecs.GZip()}[codec.to_dict()["name"]]
    bombs = [bytes(encoder.encode(BIG)) for _ in range(2)]
    index = struct.pack("<4Q", 0, len(bombs[0]), len(bombs[0]), len(bombs[1]))
    document = json.loads((store / "zarr.json").read_text())
    document["codecs"][0]["configuration"]["index_codecs"].pop()  # the checksum
    (store / "zarr.json").write_text(json.dumps(document))
    chunk_of(store).write_bytes(b"".join(bombs) + index)
    with pytest.raises(ChunkError, match="by the array's metadata"):
        open_volume(store).levels[0].array[slice(None) if whole else slice(5, 6)]


def test_zstd_that_does_not_say_its_size_is_measured_by_its_blocks() -> None:
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x58])  # no size, a window of 2 MiB
    block = struct.pack("<I", (2**17 << 3) | (1 << 1))[:3] + b"x"  # 128 KiB of one byte
    assert inflated("zstd", frame + block * 8, 2**10) is None
    with pytest.raises(ValueError, match="says that it becomes 1310720000 bytes"):
        inflated("zstd", frame + block * 10_000, 2**10)


def test_several_gzip_members_are_one_chunk() -> None:
    assert inflated("gzip", gzip.compress(b"ab") + gzip.compress(b"c"), 3) == b"abc"
    with pytest.raises(ValueError, match="more than 2 bytes"):
        inflated("gzip", gzip.compress(b"ab") + gzip.compress(b"c"), 2)
    with pytest.raises(ValueError, match="cut off"):
        inflated("gzip", gzip.compress(b"ab")[:-1], 3)


def test_levels_with_sizes_beyond_reason() -> None:
    for voxel, origin in (((1e308, 1, 1), (0, 0, 0)), ((1, 1, 1), (float("nan"), 0, 0)), ((1, 1, 1), (1e300, 0, 0))):
        with pytest.raises(ConnectoError, match=r"got voxel size|got an origin"):
            Level(np.zeros((1, 2, 2)), voxel, origin)


def test_writing_still_works_through_what_was_opened(tmp_path: Path) -> None:
    save_volume(noise(), tmp_path / "a.ome.zarr", levels=1, version="0.4")
    again = open_volume(tmp_path / "a.ome.zarr")
    save_volume(again, tmp_path / "b.ome.zarr", levels=1)
    np.testing.assert_array_equal(open_volume(tmp_path / "b.ome.zarr").levels[0].array[:], noise().levels[0].array)
    assert pickle.loads(pickle.dumps(again)).fingerprint() == again.fingerprint()  # noqa: S301


def test_jobs_of_hostile_recipes_end_before_they_begin(tmp_path: Path) -> None:
    recipe = {"workflow": "detect", "volume": "/etc/passwd", "cascade": "cells", "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match="/etc/passwd"):
        run(recipe_job(recipe))
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_no_name(tmp_path: Path) -> None:
    recipe = {"workflow": "predict", "volume": str(tmp_path / "none.zarr"), "model": None, "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match="the recipe lacks model"):
        run(recipe_job(recipe))


# recipes, parameters, sessions and labels


def test_a_patch_beyond_reason() -> None:
    event = {"event": "suggest", "id": 1, "box": [0, 0, 0, 1, 16, -1e308], "score": 0.5, "reason": "", "held_out": True}
    with pytest.raises(StoreError, match="restore the folder's copy"):
        patch_states([event])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"workflow": ["detect"]}, r"got workflow \['detect'\]; there are"),
        ({7: 1}, "has unknown 7"),
        ({"model": 5}, "got the path 5; it is text"),
        ({"model": "x" * 20_000}, "got the path .*allowed are 1 to 4096 characters"),
        ({"model": "a\0b"}, "got the path .*allowed are 1 to 4096 characters"),
        ({"volume": 7}, "got volume 7; it is a path, or a mapping with 'path'"),
        ({"volume": {"path": ["a"]}}, r"got path=.*; it must be text"),
        ({"volume": {"path": "a", "time": "x"}}, "got time='x'; it must be a whole number or empty"),
        ({"volume": {"path": "a", "array": 3}}, "got array=3; it must be text or empty"),
        ({"volume": {"path": "a", "invert": []}}, r"got invert=\(\); it must be true or false"),
        ({"params": 7}, "got params 7; it is a mapping of names to values"),
        ({"params": {1: 2}}, r"got SuggestParams \{1: 2\}; it must be a mapping of names to values"),
        ({"n": "three"}, "got n='three'; it must be a whole number"),
    ],
)
def test_entries_of_a_wrong_type(tmp_path: Path, entry: dict[Any, Any], message: str) -> None:
    recipe = {"workflow": "suggest", "volume": "absent.zarr", "model": "fly-medulla", "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match=message):
        run(recipe_job({**recipe, **entry}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"audit": 2.5}, "got audit=2.5; it must be a whole number"),
        ({"audit": float("inf")}, "got audit=inf; it must be a whole number"),
        ({"audit": True}, "got audit=True; it must be a whole number"),
        ({"audit": None}, "got audit=None; it must be a whole number"),
        ({"batch": "4"}, "got batch='4'; it must be a whole number or empty"),
        ({"threshold": [1]}, r"got threshold=\(1,\); it must be a number or empty"),
        ({"exhaustive": "no"}, "got exhaustive='no'; it must be true or false"),
        ({"ood_check": 3}, "got ood_check=3; it must be text"),
    ],
)
def test_parameters_of_a_wrong_type(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping(DetectParams, values)
    assert from_mapping(DetectParams, {"audit": np.int64(3), "threshold": 1}).audit == 3
    with pytest.raises(InputError, match=r"got tile=\(1, 2\); it must be 3 numbers or empty"):
        from_mapping(TrainParams, {"tile": [1, 2]})


@pytest.mark.parametrize(
    "about", [[], {}, {"scaling": 3}, {"scaling": {"offset": 0, "scale": 0}}, {"scaling": {"a": 1}}]
)
def test_sessions_that_scale_by_nonsense(tmp_path: Path, about: Any) -> None:
    card = replace(UNET_3D, voxel_nm=(40.0, 8.0, 8.0))
    Session.open(tmp_path / "s", noise(), card, spec="some.zarr").close()
    assert json.loads((tmp_path / "s/session.json").read_text())["volume"] == {"path": "some.zarr"}
    (tmp_path / "s/session.json").write_text(json.dumps(about))
    with pytest.raises(StoreError, match=r"session\.json' is damaged .*; restore the folder's copy"):
        Session.open(tmp_path / "s", noise(), card)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (np.zeros((4, 4)), np.full((4, 4), -1), "got labels from -1 to -1; allowed are 0 to 4294967293"),
        (np.zeros((4, 4)), np.full((4, 4), 2**63, np.uint64), "allowed are 0 to 4294967293"),
        (np.zeros((4, 4)), np.zeros((4, 4)), "got labels of type float64; labels must be integers"),
        (np.zeros((4, 4), complex), np.zeros((4, 4), int), "got an image of .* complex128"),
        (np.zeros((0, 4)), np.zeros((0, 4), int), "got an image of "),
        (np.full((4, 4), 1e300), np.zeros((4, 4), int), "NaN, infinite or huge values"),
        (np.full((4, 4), {}, object), np.zeros((4, 4), int), "got an image of .* object"),
    ],
)
def test_examples_that_cannot_be_learnt_from(image: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Example.of((image, labels))
    if "labels from" in message:
        with pytest.raises(InputError, match=message):
            to_em(labels, "instances")


@pytest.mark.parametrize("way", ["storage", "virtual", "link", "soft link to it", "group link"])
def test_hdf5_reads_no_file_that_nobody_named(way, tmp_path):
    secret = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["raw"] = secret
        other["inner/raw"] = secret
    name = "raw"
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        if way == "storage":
            file.create_dataset("raw", secret.shape, "u1", external=[(str(tmp_path / "secret.bin"), 0, secret.size)])
        elif way == "virtual":
            layout = h5py.VirtualLayout(secret.shape, "u1")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "raw", secret.shape)
            file.create_virtual_dataset("raw", layout)
        else:
            file["raw"] = np.zeros_like(secret)
            file["far"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/raw")
            file["near"] = h5py.SoftLink("/far")
            file["group"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/inner")
            name = {"link": "far", "soft link to it": "near", "group link": "group/raw"}[way]
    with pytest.raises(InputError, match=r"other files?; open that file by its own name"):
        open_volume(tmp_path / "mine.h5", array=name)


def test_hdf5_links_within_the_file_are_followed(tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["a/raw"] = np.full((2, 4, 4), 7, np.uint8)
        file["b"] = h5py.SoftLink("a")
    assert open_volume(tmp_path / "mine.h5", array="b/raw").levels[0].read(Box((0, 0, 0), (1, 1, 1))).item() == 7
