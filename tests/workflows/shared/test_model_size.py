"""The size of a model is told without loading it, and is that of the network that would be loaded."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from napari_connecto import cli
from napari_connecto.core.amounts import bytes_text
from napari_connecto.models.files import load_model
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.segment.volumetric import load_volumetric
from napari_connecto.workflows.shared.model_size import ModelSize


@pytest.mark.parametrize("name", sorted(list_models()))
def test_parameters_and_bytes_are_those_of_the_network_and_its_folder(name):
    """Law: as many parameters as the loaded networks have, and every byte of the folder."""
    folder = list_models()[name]
    networks = [
        load_model(folder, device="cpu", backend="torch"),
        load_volumetric(folder, device="cpu", backend="torch"),
    ]
    parameters = sum(p.numel() for one in networks if one is not None for p in one.net.parameters())
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert ModelSize.of(folder) == ModelSize(disk, parameters)


def test_what_does_not_say_its_parameters_still_has_a_size(tmp_path):
    """Law: a damaged or foreign file of weights is no error, and no number is made up."""
    assert ModelSize.of(tmp_path) == ModelSize(0, None)
    for head in (b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]", (9).to_bytes(8, "little") + b'{"a": {}}'):
        (tmp_path / "weights.safetensors").write_bytes(head)
        assert ModelSize.of(tmp_path) == ModelSize(len(head), None)
    assert ModelSize(1500, None).text() == "1.5 kB"
    assert ModelSize(2_000_000, 1_234_567).text() == "1.23 M parameters, 2 MB"


def test_the_list_tells_size_licence_and_voxels_of_each():
    listed = CliRunner().invoke(cli.cli, ["domains", "list"], catch_exceptions=False).output
    for name, folder in list_models().items():
        size = ModelSize.of(folder)
        entry = listed[listed.index(f"{name}: ") :].splitlines()[:3]
        assert " nm; " in entry[0]
        assert entry[1] == f"  {size.text()}"
        assert bytes_text(size.disk_bytes) in entry[1]
        assert "parameters" in entry[1]
