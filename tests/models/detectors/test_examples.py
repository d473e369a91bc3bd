"""The detector on the page works as it is written, and Cellpose as its package is called."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.volume import Volume
from napari_connecto.models.detectors import cellpose, registry
from napari_connecto.models.detectors.registered import registered
from tests import pages

NM = (1.0, 1.0, 1.0)


def squares():
    """Four bright squares of 8 pixels."""
    image = np.zeros((1, 64, 64), np.float32)
    for y in (10, 40):
        for x in (12, 44):
            image[0, y : y + 8, x : x + 8] = 100
    return Volume.from_array(image, NM)


def answer(predictor, volume):
    """Its map of an image that is smaller than a tile."""
    image = predictor.card.normalisation.resolve(volume)(np.asarray(volume.levels[0].array))
    more = [(h, t + h - n) for t, h, n in zip(predictor.card.tile, predictor.card.halo, image.shape, strict=True)]
    (a, _), (b, _), (c, _) = more
    found = predictor(np.pad(image, more, mode="edge")[None, None], [0])["object"][0]
    return found[a : a + image.shape[0], b : b + image.shape[1], c : c + image.shape[2]]


def test_the_detector_on_the_page_finds_the_middles(monkeypatch):
    text = (pages.DOCS / "cascade.md").read_text(encoding="utf-8")
    code = text.split("<!-- detector -->\n```python\n")[1].split("```")[0]
    module = ModuleType("my_package")
    monkeypatch.setitem(sys.modules, "my_package", module)
    exec(compile(code, "page", "exec"), module.__dict__)
    points = [EntryPoint("spots", "my_package:Spots", registry.GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert 'spots = "my_package:Spots"' in text
    assert f'entry-points."{registry.GROUP}"' in text
    found = answer(registered("spots", squares(), {"sigma": 3.0}), squares())
    parts, count = ndimage.label(found > 0.5)
    assert count == 4
    at = ndimage.center_of_mass(found, parts, range(1, 5))
    np.testing.assert_allclose(at, [(0, y + 3.5, x + 3.5) for y in (10, 40) for x in (12, 44)], atol=1)


@pytest.fixture
def fake(monkeypatch):
    """A package of Cellpose's interface, whose network labels what is bright, and what it was called with."""
    calls = []

    class Model:
        def __init__(self, gpu, pretrained_model):
            assert pretrained_model == "cpsam"
            assert gpu is False

        def eval(self, x, **options):
            calls.append(options)
            return ndimage.label(x > 0.5)[0], [], []

    models = SimpleNamespace(CellposeModel=Model, MODEL_NAMES=["cpsam"])
    package = ModuleType("cellpose")
    package.models, package.core = models, SimpleNamespace(use_gpu=lambda: False)
    monkeypatch.setitem(sys.modules, "cellpose", package)
    cellpose._network.cache_clear()
    yield calls
    cellpose._network.cache_clear()


def test_cellpose_is_called_with_its_options(fake):
    found = answer(registered("cellpose", squares(), {"diameter_nm": 8, "flow_threshold": 0.6}), squares())
    assert ndimage.label(found > 0.5)[1] == 4
    assert fake[0] == {"diameter": 8.0, "flow_threshold": 0.6, "cellprob_threshold": 0.0, "normalize": False}


def test_a_file_of_weights_is_no_model_of_cellpose(fake):
    with pytest.raises(ModelError, match=r"no model '/tmp/evil\.pt'; allowed: cpsam"):
        answer(registered("cellpose", squares(), {"model": "/tmp/evil.pt"}), squares())
    with pytest.raises(InputError, match="flow_threshold=99"):
        registered("cellpose", squares(), {"flow_threshold": 99.0})


def test_without_cellpose_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cellpose", None)
    cellpose._network.cache_clear()
    with pytest.raises(ModelError, match=r"pip install napari-connecto\[cellpose\]"):
        answer(registered("cellpose", squares()), squares())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_the_real_cellpose_runs_with_a_small_network_of_random_weights(monkeypatch, tmp_path):
    """What its own program finds with the same weights, which it reads from its own folder; needs the extra."""
    models = pytest.importorskip("cellpose.models", reason="extra 'cellpose' is not installed")
    torch, sam = pytest.importorskip("torch"), pytest.importorskip("segment_anything.build_sam")
    monkeypatch.setitem(sam.sam_model_registry, "vit_l", partial(sam._build_sam, 32, 2, 2, [0]))
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)
    torch.manual_seed(1)
    weights = models.CPSAM().state_dict()
    weights["out.bias"][2 * 64 :] = 1.0  # of the probability: most pixels are cells
    torch.save(weights, tmp_path / "cpsam")
    cellpose._network.cache_clear()
    image = np.random.default_rng(0).random((1, 96, 96), np.float32)
    options = {"diameter_nm": 30.0, "flow_threshold": 0.0, "gpu": False}
    found = cellpose.Cellpose(**options)(image, NM)
    own = models.CellposeModel(gpu=False, pretrained_model="cpsam")
    expected = own.eval(image[0], diameter=30.0, flow_threshold=0.0, normalize=False)[0]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[0], expected)
    assert found.max() > 0
    map_of = answer(registered("cellpose", squares(), options), squares())
    assert map_of.shape == (1, 64, 64)
    cellpose._network.cache_clear()
