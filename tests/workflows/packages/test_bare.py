"""A TorchScript file without a description is a model: what the network takes and gives is found by trying it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_connecto as nc
from napari_connecto.core.errors import InputError, ModelError, VoxelSizeError
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.workflows.packages.bare import bare_model
from napari_connecto.workflows.packages.detectors import detector
from napari_connecto.workflows.packages.import_model import import_model
from tests import packages

NM = (40.0, 8.0, 8.0)


def written(path, net, shape):
    """The network's TorchScript in a file."""
    torch.manual_seed(0)
    path.write_bytes(packages.script(net.eval(), shape))
    return path


def sections(channels=1, outputs=1, kernel=5, last=None):
    """Two convolutions: the answer depends on ``kernel - 1`` pixels around."""
    torch.manual_seed(0)
    size = {"kernel_size": kernel, "padding": kernel // 2}
    return nn.Sequential(nn.Conv2d(channels, 4, **size), nn.ReLU(), nn.Conv2d(4, outputs, **size), last or nn.Sigmoid())


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (1, 3), (3, 2)])
def test_channels_and_outputs_are_the_networks_own(tmp_path, channels, outputs):
    path = written(tmp_path / "net.pt", sections(channels, outputs), (1, channels, 64, 64))
    card = bare_model(path, NM).card
    assert (card.channels, len(card.outputs), card.voxel_nm) == (channels, outputs, NM)
    assert (card.name, card.task, card.tile[0], card.halo[0]) == ("net", "imported", 1, 0)


@pytest.mark.parametrize(("kernel", "halo"), [(3, 16), (17, 16), (19, 32)])
def test_the_halo_is_what_the_network_sees(tmp_path, kernel, halo):
    card = bare_model(written(tmp_path / "a.pt", sections(kernel=kernel), (1, 1, 64, 64)), NM).card
    assert card.halo == (0, halo, halo)
    assert card.tile == (1, 256 - 2 * halo, 256 - 2 * halo)


def test_blocks(tmp_path):
    net = nn.Sequential(nn.Conv3d(1, 1, (3, 5, 5), padding=(1, 2, 2)), nn.Sigmoid())
    card = bare_model(written(tmp_path / "membranes.ts", net, (1, 1, 8, 32, 32)), NM).card
    assert (card.halo, card.tile, card.task) == ((4, 16, 16), (24, 96, 96), "boundary")


def test_only_one_output_that_is_a_probability_is_a_boundary(tmp_path):
    """Else a file of this name would be ranked and fail, or its logits would be cut off at 0 and 1."""
    for outputs, last in ((2, nn.Sigmoid()), (1, nn.Identity())):
        path = written(tmp_path / "membranes.pt", sections(1, outputs, last=last), (1, 1, 64, 64))
        assert bare_model(path, NM).card.task == "imported"
    with pytest.raises(ModelError, match=r"'output' goes from .* that is no probability"):
        import_model(path, tmp_path / "model", voxel_nm=NM, boundary="output")
    path = written(tmp_path / "membranes.pt", sections(), (1, 1, 64, 64))
    card = import_model(path, tmp_path / "model", voxel_nm=NM)
    assert (card.task, [output.name for output in card.outputs]) == ("boundary", ["boundary"])


def test_a_network_that_answers_with_infinity_is_refused(tmp_path):
    class Broken(nn.Module):
        def forward(self, x):
            return x / 0.0

    path = written(tmp_path / "net.pt", Broken(), (1, 1, 64, 64))
    with pytest.raises(ModelError, match="not finite"):
        bare_model(path, NM)


def test_in_tiles_the_answer_is_that_of_the_whole(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(4), nn.Upsample(scale_factor=4), sections(2))
    path = written(tmp_path / "net.pt", net, (1, 1, 64, 64))
    image = np.random.default_rng(0).random((1, 512, 512), np.float32)
    volume = Volume.from_array(image, NM, name="noise")
    model = detector(path, volume, normalisation="none")
    tiled = np.asarray(nc.lazy(volume, model))[0]
    with torch.inference_mode():
        whole = net(torch.from_numpy(image[None]))[0, 0].numpy()
    np.testing.assert_allclose(tiled[32:-32, 32:-32], whole[32:-32, 32:-32], atol=1e-5)


def test_imported_it_is_a_model_like_any_other(tmp_path):
    path = written(tmp_path / "net.pt", sections(), (1, 1, 64, 64))
    with pytest.raises(VoxelSizeError, match="states no voxel size; give the size"):
        import_model(path, tmp_path / "model")
    card = import_model(path, tmp_path / "model", voxel_nm=NM)
    assert load_model(tmp_path / "model", device="cpu").card == card


def test_what_it_cannot_be(tmp_path):
    volume = Volume.from_array(np.zeros((1, 64, 64), np.float32), NM, name="dark")
    path = written(tmp_path / "net.pt", sections(), (1, 1, 64, 64))
    with pytest.raises(InputError, match="got normalisation='zscore'; allowed: "):
        detector(path, volume, normalisation="zscore")
    smaller = written(tmp_path / "smaller.pt", nn.Sequential(nn.Conv2d(1, 1, 3)), (1, 1, 64, 64))
    with pytest.raises(ModelError, match=r"'smaller.pt' takes neither sections .* must give as many"):
        detector(smaller, volume)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pth")
    with pytest.raises(ModelError, match=r"^'state.pth' is not TorchScript but a pickle"):
        detector(tmp_path / "state.pth", volume)
