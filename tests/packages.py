"""Tiny bioimage.io packages, made on the spot."""

from __future__ import annotations

import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

SHAPE = (1, 1, 32, 32)
SCALE = {"id": "scale_range", "kwargs": {"min_percentile": 1.0, "max_percentile": 99.0}}
FLOAT = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
CREATED = "2024-01-01T00:00:00Z"


def net(dims: int = 2, seed: int = 0) -> nn.Module:
    """A convolution, batch norm and a head: one channel to one logit."""
    torch.manual_seed(seed)
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.Sequential(conv(1, 4, 3, padding=1), norm(4), nn.ReLU(), conv(4, 1, 1)).eval()


def script(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> bytes:
    """A network as a TorchScript file."""
    stream = BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.zeros(shape)), stream)
    return stream.getvalue()


def onnx_file(module: nn.Sequential, *, external: bool = False, outputs: int = 1) -> bytes:
    """A network of `net` as an ONNX file; ``external``: one that says its first weights lie in another file."""
    from onnx import TensorProto, helper, numpy_helper

    conv, norm, _, head = module
    tensors = {
        "w0": conv.weight, "b0": conv.bias, "s": norm.weight, "b": norm.bias, "m": norm.running_mean,
        "v": norm.running_var, "w1": head.weight, "b1": head.bias,
    }  # fmt: skip
    weights = [numpy_helper.from_array(t.detach().numpy(), name) for name, t in tensors.items()]
    if external:
        weights[0].ClearField("raw_data")
        weights[0].data_location = TensorProto.EXTERNAL
        entry = weights[0].external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=norm.eps),
        helper.make_node("Relu", ["n"], ["r"]),
        *(helper.make_node("Conv", ["r", "w1", "b1"], [f"y{i}"]) for i in range(outputs)),
    ]
    image = ["n", 1, "h", "w"]
    given = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, image) for i in range(outputs)]
    taken = [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)]
    graph = helper.make_graph(nodes, "tiny", taken, given, weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def npy(array: np.ndarray) -> bytes:
    """An array as a file."""
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def image(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Noise between 10 and 200, uint8."""
    return np.random.default_rng(1).integers(10, 200, shape, np.uint8)


def scaled(x: np.ndarray) -> np.ndarray:
    """As `SCALE` has it, by its formula."""
    low, high = np.percentile(x, [1, 99])
    return ((x - low) / (high - low + 1e-6)).astype(np.float32)


def run(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """What a network gives."""
    with torch.inference_mode():
        return module(torch.from_numpy(np.ascontiguousarray(x, np.float32))).numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def axis(letter: str, *, nm: float | None = 8.0, halo: int = 0, given: bool = False, **more: Any) -> dict[str, Any]:
    """An axis of format 0.5: extents 16, 32, 48, ..."""
    if letter == "b":
        return {"type": "batch"}
    if letter == "c":
        return {"type": "channel", "channel_names": ["membrane" if given else "em"]}
    unit = {"unit": "nanometer", "scale": nm} if nm else {}
    size: Any = {"tensor_id": "raw", "axis_id": letter} if given else {"min": 16, "step": 16}
    return {"type": "space", "id": letter, **unit, "size": size, **({"halo": halo} if halo else {}), **more}


def rdf5(axes: str = "bcyx", **changes: Any) -> dict[str, Any]:
    """A description of format 0.5 with scale_range before and sigmoid after."""
    nm = changes.pop("nm", 8.0)
    halo = changes.pop("halo", 4)
    document = {
        "format_version": "0.5.3",
        "type": "model",
        "name": "tiny membranes",
        "description": "A test.",
        "authors": [{"name": "A Tester"}],
        "cite": [{"text": "Nowhere", "doi": "10.1000/xyz123"}],
        "license": "MIT",
        "documentation": "README.md",
        "timestamp": CREATED,
        "inputs": [
            {
                "id": "raw",
                "axes": [axis(a, nm=nm) for a in axes],
                "test_tensor": {"source": "in.npy"},
                "data": {"type": "uint8"},
                "preprocessing": changes.pop("before", [SCALE, FLOAT]),
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "axes": [axis(a, nm=nm, given=True, halo=halo) for a in axes],
                "test_tensor": {"source": "out.npy"},
                "data": {"type": "float32"},
                "postprocessing": changes.pop("after", [{"id": "sigmoid"}]),
            }
        ],
        "weights": {"torchscript": {"source": "weights.pt", "pytorch_version": "2.0"}},
    }
    return {**document, **changes}


def rdf4(axes: str = "bcyx", **changes: Any) -> dict[str, Any]:
    """A description of format 0.4, as `rdf5`."""
    n = len(axes)
    least = [1 if a in "bc" else 16 for a in axes]
    document = {
        "format_version": "0.4.10",
        "type": "model",
        "name": "tiny membranes",
        "description": "A test.",
        "authors": [{"name": "A Tester"}],
        "cite": [{"text": "Nowhere", "doi": "10.1000/xyz123"}],
        "license": "MIT",
        "documentation": "README.md",
        "timestamp": CREATED,
        "inputs": [
            {
                "name": "raw",
                "axes": axes,
                "data_type": "uint8",
                "shape": {"min": least, "step": [0 if a in "bc" else 16 for a in axes]},
                "preprocessing": [
                    {
                        "name": "scale_range",
                        "kwargs": {
                            "mode": "per_sample",
                            "axes": axes.replace("b", ""),
                            "min_percentile": 1.0,
                            "max_percentile": 99.0,
                        },
                    }
                ],
            }
        ],
        "outputs": [
            {
                "name": "probability",
                "axes": axes,
                "data_type": "float32",
                "shape": {"reference_tensor": "raw", "scale": [1.0] * n, "offset": [0.0] * n},
                "halo": [0 if a in "bc" else 4 for a in axes],
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
        "weights": {"torchscript": {"source": "weights.pt"}},
    }
    return {**document, **changes}


def files(document: Any, **changes: bytes) -> dict[str, bytes]:
    """All files of a package of `net`; ``changes`` by name with _ for the dot."""
    module, x = net(), image()
    made = {
        "rdf.yaml": document if isinstance(document, bytes) else yaml.safe_dump(document).encode(),
        "README.md": b"# A test\n",
        "weights.pt": script(module),
        "in.npy": npy(x),
        "out.npy": npy(sigmoid(run(module, scaled(x)))),
    }
    return made | {name.replace("_", ".", 1): data for name, data in changes.items()}


def brightness(nm: float) -> dict[str, bytes]:
    """A package whose answer is near 1 where the smoothed image is bright, and near 0 elsewhere."""
    module, x = nn.Conv2d(1, 1, 3, padding=1).eval(), image()
    with torch.no_grad():
        module.weight.fill_(20 / 9)
        module.bias.fill_(-10)
    out = npy(sigmoid(run(module, scaled(x))))
    return files(rdf5(nm=nm), weights_pt=script(module), out_npy=out)


def folder(path: Path, made: dict[str, bytes]) -> Path:
    """Write a package as a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (path / name).write_bytes(data)
    return path


def zipped(path: Path, made: dict[str, bytes]) -> Path:
    """Write a package as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in made.items():
            archive.writestr(name, data)
    return path
