"""Reading tiles over HTTP and S3, and writing to S3: MB/s, requests per tile, what reading ahead hides.

``python -m benchmarks.object_store`` starts a web server that counts and can be slow, and a simulated S3 (moto), both
on this machine: times are those of a busy machine, requests and bytes are those of any server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from benchmarks._cluster import free_port, kill, wait_for
from benchmarks._site import Site
from benchmarks.scale import Trivial, row, table, total

from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.options import Meter
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume

SHAPE: Vec3 = (128, 512, 512)
CHUNK: Vec3 = (32, 128, 128)
NM = (8.0, 8.0, 8.0)


def read(url: str, readers: int | None, halo: Vec3 = (0, 0, 0)) -> tuple[float, Meter, int]:
    """Seconds, counts and tiles of a pass over a volume, with the least that a model can do."""
    level, model, meter = open_volume(url, voxel_nm=NM).levels[0], Trivial(CHUNK), Meter()
    plan = TilePlan(SHAPE, CHUNK, halo)
    begin = time.perf_counter()
    options = ExecuteOptions(batch=1, readers=readers, meter=meter)
    done = sum(1 for _ in execute(level, plan, model, total, options=options))
    return time.perf_counter() - begin, meter, done


def over_http(folder: Path, array: np.ndarray) -> None:
    for name, shards in (("plain", None), ("shards", (64, 256, 256))):
        made = zarr.create_array(folder / name, shape=SHAPE, chunks=CHUNK, shards=shards, dtype="u1")
        made[:] = array
    table("HTTP", "delay per answer, ms", "readers", "MB/s", "requests per tile", "bytes sent / stored")
    for name in ("plain", "shards"):
        stored = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        for delay in (0.0, 0.2):
            for readers in (1, 8):
                with Site(folder, delay) as site:
                    took, meter, tiles = read(f"{site.url}/{name}", readers)
                asked = sum(n for path, n in site.requests.items() if "/c/" in path)
                rate = f"{meter.bytes_read / 1e6 / took:.0f}"
                row(name, f"{1e3 * delay:.0f}", readers, rate, f"{asked / tiles:.2f}", f"{site.sent / stored:.2f}")


def over_s3(array: np.ndarray) -> None:
    import fsspec
    import s3fs

    port, calls = free_port(), Counter[str]()
    program = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://127.0.0.1:{port}"}
    inner = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        calls[method] += 1
        return await inner(self, method, *args, **kwargs)

    s3fs.S3FileSystem._call_s3 = counted
    try:
        wait_for(lambda: _made(s3fs), "the simulated S3")
        table("S3 (moto)", "readers", "MB/s", "requests per tile")
        begin = time.perf_counter()
        save_volume(Volume.from_array(array, NM), "s3://bucket/v.ome.zarr", levels=1)
        rate = f"{array.nbytes / 1e6 / (time.perf_counter() - begin):.0f}"
        row("save_volume", "", rate, f"{calls['put_object']} put in all")
        for readers in (1, 2, 8):
            calls.clear()
            took, meter, tiles = read("s3://bucket/v.ome.zarr", readers)
            row("read", readers, f"{meter.bytes_read / 1e6 / took:.0f}", f"{calls['get_object'] / tiles:.2f}")
    finally:
        kill(server)


def _made(s3fs: Any) -> bool:
    try:
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
    except OSError:
        return False
    return True


def main() -> None:
    z, y, x = np.indices(SHAPE, sparse=True)
    noise = np.random.default_rng(0).integers(0, 32, SHAPE, dtype=np.uint8)
    array = noise + (96 * ((z // 16 + y // 32 + x // 32) % 2)).astype(np.uint8)
    with tempfile.TemporaryDirectory(prefix="napari-connecto-") as folder:
        over_http(Path(folder), array)
    over_s3(array)


if __name__ == "__main__":
    main()
