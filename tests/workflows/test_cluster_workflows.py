"""Two workers started by address: every whole-volume workflow ends in the bits of a local run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks._cluster import Cluster

from napari_connecto.compute.cluster import connect
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import new_model
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.detect import detect
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict
from napari_connecto.workflows.segment.segment import segment
from napari_connecto.workflows.xray.translate import translate
from tests import adapt_parts, tiny, translate_parts
from tests.workflows.segment.test_segment import DEEP, NM, cells

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[Any]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster, connect(cluster.address) as client:
        client.wait_for_workers(2)
        yield client


def same(here: Volume, there: Volume) -> None:
    for a, b in zip(here.levels, there.levels, strict=True):
        np.testing.assert_array_equal(a.read(a.box), b.read(b.box))


def saved(volume: Volume, path: Path) -> Volume:
    save_volume(volume, path, levels=1)
    return open_volume(path)


def test_detect(client, tmp_path):
    path = tiny.volume(tmp_path)
    cascade, params = load_cascade(tiny.cascade(path, tmp_path / "tiny"), backend="torch"), DetectParams(audit=4)
    here = detect(open_volume(path), cascade, params, out=tmp_path / "here")
    there = detect(open_volume(path), cascade, params, out=tmp_path / "there", client=client)
    assert len(here) > 0
    for name in ("centre_nm", "score", "box", "chunks"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    same(*(open_volume(tmp_path / f / "map" / "probability.zarr") for f in ("here", "there")))


def test_predict_and_segment(client, tmp_path):
    path, _ = adapt_parts.image_and_truth(tmp_path)
    model, volume = new_model(adapt_parts.tiny_card("untrained"), 0), open_volume(path)
    here = predict(volume, model, out=tmp_path / "here")
    there = predict(volume, model, out=tmp_path / "there", client=client)
    assert here.levels[0].read(here.levels[0].box).std() > 0
    same(here, there)
    params = SegmentParams(block=(8, 96, 96), halo=(0, 16, 16), min_size=20)
    cut = [
        segment(volume, params, model=model, out=tmp_path / f"cut-{k}", client=c) for k, c in enumerate((None, client))
    ]
    assert cut[0].metadata["segments"] == cut[1].metadata["segments"] > 1
    same(*cut)


def test_segment_a_map_that_is_there(client, tmp_path):
    volume, runs = saved(Volume.from_array(cells()[0], NM), tmp_path / "boundary.ome.zarr"), {"a": None, "b": client}
    here, there = (segment(volume, DEEP, out=tmp_path / name, client=c) for name, c in runs.items())
    same(here, there)
    assert here.metadata["segments"] == there.metadata["segments"] == 18


def test_translate(client, tmp_path):
    xray, translator = saved(translate_parts.xray(), tmp_path / "xray.ome.zarr"), translate_parts.untrained()
    here = translate(xray, translator, out=tmp_path / "here")
    there = translate(xray, translator, out=tmp_path / "there", client=client)
    for name in ("mean", "aleatoric", "epistemic"):
        same(getattr(here, name), getattr(there, name))
