"""bioimage.io packages made on the spot, imported, opened and run."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import napari_connecto as nc
from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError, ModelError, StoreError, VoxelSizeError
from napari_connecto.models.imported.architectures import MONAI, architecture
from napari_connecto.workflows.packages.import_model import import_model
from tests.models.test_imported import SMALL_UNET, Last, Runs, state_bytes
from tests.packages import (
    FLOAT,
    SCALE,
    axis,
    files,
    folder,
    image,
    net,
    npy,
    onnx_file,
    rdf4,
    rdf5,
    run,
    scaled,
    script,
    sigmoid,
    zipped,
)

pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("write", [folder, zipped])
@pytest.mark.parametrize("document", [rdf5(), rdf4()], ids=["0.5", "0.4"])
def test_both_formats_as_folder_and_zip(tmp_path: Path, write: Any, document: dict[str, Any]) -> None:
    card = import_model(write(tmp_path / "package", files(document)), tmp_path / "out", voxel_nm=(40, 8, 8))
    assert (card.name, card.licence, card.channels) == ("tiny membranes", "MIT", 1)
    assert card.voxel_nm == (40, 8, 8)
    assert card.halo == (0, 8, 8)  # 4 stated; 8 lays tiles on the grid of 16
    assert card.tile == (1, 240, 240)
    assert (card.normalisation.kind, card.normalisation.low, card.normalisation.high) == ("percentile", 1.0, 99.0)
    model = nc.load_model(tmp_path / "out", device="cpu")
    assert model.card == card
    batch = np.random.default_rng(0).random((1, 1, 1, 256, 256), np.float32)
    got = model(batch, [0])[card.outputs[0].name]
    np.testing.assert_allclose(got[0], sigmoid(run(net(), batch[:, :, 0]))[0], atol=1e-6)


def test_a_volume_is_predicted_as_the_whole_section_would_be(tmp_path: Path) -> None:
    import_model(folder(tmp_path / "p", files(rdf5())), tmp_path / "out")
    x = image((2, 300, 300))
    volume = nc.Volume.from_array(x, (8, 8, 8))
    result = nc.predict(volume, nc.load_model(tmp_path / "out", device="cpu"), out=tmp_path / "predicted")
    want = sigmoid(run(net(), scaled(x)[:, None]))[:, 0]
    got = result.levels[0].read(result.levels[0].box) / 255
    np.testing.assert_allclose(got[:, 4:-4, 4:-4], want[:, 4:-4, 4:-4], atol=0.5 / 255 + 1e-5)


def test_the_voxel_size_is_the_packages_or_given(tmp_path: Path) -> None:
    stated = folder(tmp_path / "p", files(rdf5(nm=6.5)))
    assert import_model(stated, tmp_path / "a").voxel_nm == (6.5, 6.5, 6.5)
    assert import_model(stated, tmp_path / "b", voxel_nm=(50, 4, 4)).voxel_nm == (50, 4, 4)
    without = folder(tmp_path / "q", files(rdf5(nm=None)))
    with pytest.raises(VoxelSizeError, match=r"states no voxel size .*in nm \(voxel_nm=, --voxel-nm Z Y X\)"):
        import_model(without, tmp_path / "c")
    with pytest.raises(VoxelSizeError, match="three positive numbers in nm"):
        import_model(without, tmp_path / "c", voxel_nm=(0, 4, 4))
    micrometres = rdf5()
    for tensor in (*micrometres["inputs"], *micrometres["outputs"]):
        for one in tensor["axes"][2:]:
            one |= {"unit": "micrometer", "scale": 0.01}
    assert import_model(folder(tmp_path / "r", files(micrometres)), tmp_path / "d").voxel_nm == (10, 10, 10)


FIXED = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 100.0, "std": 50.0}}


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([FLOAT], lambda x: x),
        ([{"id": "zero_mean_unit_variance", "kwargs": {}}, FLOAT], lambda x: (x - x.mean()) / (x.std() + 1e-6)),
        ([{"id": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1.0}}, FLOAT], lambda x: x * 0.01 - 1),
        ([SCALE, {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}}, FLOAT], lambda x: np.clip(scaled(x), 0, 1)),
        (
            [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 100.0, "std": 50.0}}, FLOAT],
            lambda x: x / 50 - 2,
        ),
        ([{"id": "binarize", "kwargs": {"threshold": 100.0}}, FLOAT], lambda x: x > 100),
    ],
    ids=["none", "standard", "linear", "clipped", "fixed", "binary"],
)
def test_preprocessing_is_honoured(tmp_path: Path, before: list[dict[str, Any]], expected: Any) -> None:
    x = image()
    want = sigmoid(run(net(), expected(x.astype(np.float64))))
    import_model(folder(tmp_path / "p", files(rdf5(before=before), out_npy=npy(want))), tmp_path / "out")


def test_postprocessing_is_honoured(tmp_path: Path) -> None:
    logits = run(net(), scaled(image()))
    after = [{"id": "binarize", "kwargs": {"threshold": 0.1}}]
    package = folder(tmp_path / "p", files(rdf5(after=after), out_npy=npy((logits > 0.1).astype(np.float32))))
    import_model(package, tmp_path / "out")


def test_three_dimensions_and_channels_last(tmp_path: Path) -> None:
    x = image((1, 1, 16, 32, 32))
    changes = {"in_npy": npy(x), "out_npy": npy(sigmoid(run(net(3), scaled(x)))), "weights_pt": script(net(3), x.shape)}
    card = import_model(folder(tmp_path / "p", files(rdf5("bczyx"), **changes)), tmp_path / "a")
    assert (card.tile, card.halo, card.voxel_nm) == ((16, 112, 112), (8, 8, 8), (8, 8, 8))
    x = image((1, 32, 32, 1))
    want = sigmoid(run(Last(), scaled(x)))
    changes = {"in_npy": npy(x), "out_npy": npy(want), "weights_pt": script(Last(), x.shape)}
    card = import_model(folder(tmp_path / "q", files(rdf4("byxc"), **changes)), tmp_path / "b", voxel_nm=(8, 8, 8))
    assert card.network["axes"] == "byxc"


def test_a_network_that_shrinks_and_trims(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 5), nn.AvgPool2d(2)).eval()  # 32 -> 28 -> 14
    x = image()
    document = rdf5(after=[], halo=0)
    for one in document["outputs"][0]["axes"][2:]:
        one |= {"scale": 16.0, "size": {**one["size"], "offset": -2}}
    document["outputs"][0]["axes"][1]["channel_names"] = ["a", "b"]
    changes = {"out_npy": npy(run(module, scaled(x))), "weights_pt": script(module)}
    card = import_model(folder(tmp_path / "p", files(document, **changes)), tmp_path / "out")
    assert [(o.name, o.stride, o.trimmed) for o in card.outputs] == [(n, (1, 2, 2), (0, 2, 2)) for n in "ab"]
    assert (card.halo[1] - 2) % 2 == 0
    shape = (1, 1, 1, *(t + 2 * h for t, h in zip(card.tile[1:], card.halo[1:], strict=True)))
    got = nc.load_model(tmp_path / "out", device="cpu")(np.zeros(shape, np.float32), [0])["a"]
    assert got.shape == (1, 1, (shape[3] - 4) // 2, (shape[4] - 4) // 2)


def test_fixed_extents_and_unstated_halos(tmp_path: Path) -> None:
    fixed = rdf5(halo=0)
    for one in fixed["inputs"][0]["axes"][2:]:
        one["size"] = 32
    card = import_model(folder(tmp_path / "p", files(fixed)), tmp_path / "a")
    assert (card.tile, card.halo) == ((1, 32, 32), (0, 0, 0))
    card = import_model(folder(tmp_path / "q", files(rdf5(halo=0))), tmp_path / "b")
    assert (card.tile, card.halo) == ((1, 224, 224), (0, 16, 16))


def test_state_dicts_of_known_architectures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = architecture(MONAI, {**SMALL_UNET, "out_channels": 1})
    state = {"source": "weights.pt", "pytorch_version": "2.0"}
    library = {"import_from": "monai.networks.nets", "callable": "UNet", "kwargs": {**SMALL_UNET, "out_channels": 1}}
    document = rdf5(weights={"pytorch_state_dict": {**state, "architecture": library}})
    want = npy(sigmoid(run(unet, scaled(image()))))
    changes = {"weights_pt": state_bytes(unet.state_dict()), "out_npy": want}
    card = import_model(folder(tmp_path / "p", files(document, **changes)), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["card.json", "weights.safetensors"]
    assert nc.load_model(tmp_path / "out", device="cpu").card == card
    source = {"source": "unet.py", "callable": "UNet", "kwargs": {}}
    document = rdf5(weights={"pytorch_state_dict": {**state, "architecture": source}})
    with pytest.raises(ModelError, match="ships its network as source code, which is never run"):
        import_model(folder(tmp_path / "q", files(document, unet_py=b"raise SystemExit")), tmp_path / "b")
    document = rdf5(weights={"pytorch_state_dict": {**state, "architecture": {**library, "import_from": "os"}}})
    with pytest.raises(ModelError, match=r"architecture 'os.UNet'; allowed"):
        import_model(folder(tmp_path / "r", files(document, **changes)), tmp_path / "b")


def _document(**weights: Any) -> dict[str, Any]:
    return rdf5(weights={"torchscript": {"source": "weights.pt", "pytorch_version": "2.0", **weights}})


def _sized(**sizes: Any) -> dict[str, Any]:
    document = rdf5()
    for one in document["inputs"][0]["axes"][2:]:
        one["size"] = sizes.get(one["id"], one["size"])
    return document


def _tied(**reference: Any) -> dict[str, Any]:
    """The extent along y follows from that along x."""
    document = _sized(y={"tensor_id": "raw", "axis_id": "x", **reference})
    document["outputs"][0]["axes"][2]["size"] = {"tensor_id": "raw", "axis_id": "x", **reference}
    return document


def test_sections_may_be_square(tmp_path: Path) -> None:
    assert import_model(folder(tmp_path / "p", files(_tied())), tmp_path / "out").tile == (1, 240, 240)


ONNX = rdf5(weights={"onnx": {"source": "weights.onnx", "opset_version": 17}})


def _source(architecture: Any, rdf: Any = rdf5) -> dict[str, Any]:
    """A network that comes as source code."""
    return rdf(weights={"pytorch_state_dict": {"source": "weights.pt", "architecture": architecture}})


TIME = [{"type": "time", "size": 4}, axis("y"), axis("x")]
REFUSED: list[tuple[Any, dict[str, bytes], str]] = [
    (
        rdf5(),
        {"out_npy": npy(np.zeros((1, 1, 32, 32), np.float32))},
        r"deviates from the package's test output by 0\.\d+,",
    ),
    (rdf5(), {"out_npy": npy(np.zeros((1, 1, 30, 32), np.float32))}, r"test output has shape .*30, 32"),
    (rdf5(), {"out_npy": npy(np.full((1, 1, 32, 32), np.nan))}, "deviates from the package's test output"),
    (rdf5(), {"in_npy": npy(np.zeros((1, 32, 32)))}, "test input has 3 axes, but its description says 'bcyx'"),
    (rdf5(), {"in_npy": npy(np.zeros((1, 2, 32, 32)))}, "test input has 2 channels, but the model takes 1"),
    (rdf5(), {"in_npy": npy(np.array([{}], object))}, "'in.npy' in .* is not an array of numbers"),
    (rdf5(), {"weights_pt": state_bytes({"a": Runs()})}, "is not TorchScript but a pickle"),
    (_document(sha256="0" * 64), {}, "is not the file of the description"),
    (_document(source="https://example.org/weights.pt"), {}, "nothing is downloaded: download the full package first"),
    (_document(source="../weights.pt"), {}, "outside the package|not valid"),
    (_document(source="/etc/passwd"), {}, "outside the package|not valid"),
    (_document(source="absent.pt"), {}, "has no file 'absent.pt'"),
    (ONNX, {"weights_onnx": b"nothing"}, "is not an ONNX file|onnxruntime cannot load"),
    (
        ONNX,
        {"weights_onnx": onnx_file(net(), external=True)},
        "stores its weights in external files",
    ),
    (ONNX, {"weights_onnx": onnx_file(net(), outputs=2)}, "has 1 inputs and 2 outputs; supported is one image in"),
    (ONNX, {"weights_onnx": onnx_file(net(seed=5))}, "deviates from the package's test output"),
    (
        rdf5(weights={"keras_hdf5": {"source": "weights.h5", "tensorflow_version": "2.0"}, "onnx": None}),
        {},
        "has weights as keras_hdf5; supported are torchscript, pytorch_state_dict, onnx: ask its authors",
    ),
    (
        _source({"source": "net.py", "callable": "Net"}),
        {},
        r"source code, which is never run \(net.py\); ask",
    ),
    (_source("net.py:Net", rdf4), {}, r"source code, which is never run \(net.py:Net\); ask"),
    (_source("./net.py:Net", rdf4), {}, r"source code, which is never run \(./net.py:Net\)"),
    (rdf5(format_version="0.3.2"), {}, "has format 0.3.2; allowed: 0.4, 0.5"),
    (rdf5(type="dataset"), {}, "describes a dataset, not a model"),
    (rdf5(name=None), {}, "is not valid: "),
    (rdf5(inputs=[]), {}, "is not valid: inputs"),
    (
        rdf5(after=[{"id": "zero_mean_unit_variance", "kwargs": {}}]),
        {},
        "'zero_mean_unit_variance' by statistics",
    ),
    (rdf5(before=[{**SCALE, "kwargs": {"axes": ["y"]}}, FLOAT]), {}, "'scale_range' over the axes 'y' of 'bcyx'"),
    (rdf5(inputs=[{**rdf5()["inputs"][0], "axes": TIME}]), {}, "is not valid|supported are batch, channel"),
    (_sized(x={"min": 2**40, "step": 2**40}), {}, "along x beyond 16384 voxels"),
    (_sized(y={"min": 0, "step": 16}), {}, "is not valid: inputs.0.axes.2.space.size"),
    (_tied(offset=16), {}, "along y hangs on 'x'; supported are y and x of equal extent"),
    (b"a: !!python/object/apply:os.system ['ls']", {}, "YAML tag"),
    (b"- 1", {}, "is not a mapping"),
]


@pytest.mark.parametrize(("document", "changes", "match"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_trusted_or_done_is_refused(
    tmp_path: Path, document: Any, changes: dict[str, bytes], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        import_model(zipped(tmp_path / "p.zip", files(document, **changes)), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert "run!" not in capsys.readouterr().out


def test_folders_without_a_description_and_full_places(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no bioimageio.yaml, rdf.yaml or NAME.bioimageio.yaml"):
        import_model(folder(tmp_path / "p", {"a": b""}), tmp_path / "out")
    package = folder(tmp_path / "q", files(rdf5()))
    import_model(package, tmp_path / "out")
    with pytest.raises(StoreError, match="holds a model already"):
        import_model(package, tmp_path / "out")
    import_model(package, tmp_path / "out", voxel_nm=(30, 3, 3), overwrite=True)
    assert nc.load_model(tmp_path / "out").card.voxel_nm == (30, 3, 3)


@pytest.mark.parametrize("name", ["em.bioimageio.yaml", "rdf.yaml", "bioimageio.yaml"])
def test_a_description_stands_for_its_folder(tmp_path: Path, name: str) -> None:
    made = files(rdf5())
    text = made.pop("rdf.yaml").decode()
    anchored = (
        text.replace("test_tensor:\n    source: in.npy", "test_tensor: &t\n    source: in.npy") + "config: {t: *t}\n"
    )
    assert "&t" in anchored
    package = folder(tmp_path / "package", {**made, name: anchored.encode()})
    digest = import_model(package / name, tmp_path / "a").digest
    assert import_model(package, tmp_path / "b").digest == digest
    assert import_model(zipped(tmp_path / "p.zip", {**made, name: anchored.encode()}), tmp_path / "c").digest == digest
    if name.startswith("em"):
        (package / "lm.bioimageio.yaml").write_text(anchored)
        with pytest.raises(ModelError, match=r"has 2 descriptions: em.bioimageio.yaml, lm.bioimageio.yaml; give one"):
            import_model(package, tmp_path / "d")
        assert import_model(package / "lm.bioimageio.yaml", tmp_path / "d").digest == digest


def test_a_network_that_comes_as_onnx_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = files(ONNX, weights_onnx=onnx_file(net()))
    made.pop("weights.pt")
    card = import_model(zipped(tmp_path / "p.zip", made), tmp_path / "out")
    assert (tmp_path / "out/weights.onnx").read_bytes() == made["weights.onnx"]
    model = nc.load_model(tmp_path / "out")
    assert (model.card, str(model.device)) == (card, "cpu")
    batch = np.random.default_rng(0).random((2, 1, 1, 256, 256), np.float32)
    got = model(batch, [0, 0])[card.outputs[0].name]
    np.testing.assert_allclose(got, sigmoid(run(net(), batch[:, :, 0]))[:, 0][:, None], atol=1e-5)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - as Dask does
    np.testing.assert_array_equal(again(batch, [0, 0])[card.outputs[0].name], got)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"ONNX networks need the extra 'onnx': pip install 'napari-connecto\[onnx\]'"):
        import_model(zipped(tmp_path / "q.zip", made), tmp_path / "other")


def test_without_the_extra_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioimageio.spec", None)
    with pytest.raises(InputError, match=r"need the extra 'bioimageio': pip install 'napari-connecto\[bioimageio\]'"):
        import_model(folder(tmp_path / "p", files(rdf5())), tmp_path / "out")


def test_the_shell_imports_too(tmp_path: Path) -> None:
    package = zipped(tmp_path / "p.zip", files(rdf4()))
    words = ["models", "import", str(package), "--out", str(tmp_path / "out")]
    bad = CliRunner().invoke(cli, words)
    assert isinstance(bad.exception, VoxelSizeError)
    done = CliRunner().invoke(cli, [*words, "--voxel-nm", "40", "8", "8"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "probability; 40 x 8 x 8 nm, tile (1, 240, 240), halo (0, 8, 8); test tensors reproduced" in done.output
