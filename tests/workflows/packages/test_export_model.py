"""Models of ours as bioimage.io packages: what they answer there is what they answer here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto.cli import cli
from napari_connecto.core.errors import ModelError, StoreError
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.workflows.packages import import_model as import_model_module
from napari_connecto.workflows.packages.export_model import export_model
from napari_connecto.workflows.packages.import_model import import_model
from napari_connecto.workflows.xray.reliability import Recalibration
from tests import translate_parts

pytest.importorskip("bioimageio.spec", reason="the extra 'bioimageio' is not installed")

SECTIONS = ModelCard(
    "sections",
    "boundary",
    (40.0, 8.0, 8.0),
    (1, 32, 32),
    (0, 16, 16),
    (Output("boundary"),),
    normalisation=Normalisation("percentile"),
    network={"kind": "unet", "dims": 2, "width": 4, "depth": 2},
    licence="CC BY 4.0",
)
BLOCKS = replace(
    SECTIONS,
    name="blocks",
    task="detect",
    tile=(8, 16, 16),
    halo=(4, 8, 8),
    outputs=(Output("object", (4, 4, 4)),),
    normalisation=Normalisation("range"),
    network={"kind": "scorer", "dims": 3, "width": 4, "stride": [4, 4, 4]},
)


pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("card", [SECTIONS, BLOCKS], ids=lambda card: card.name)
def test_a_package_answers_as_the_model_does(card: ModelCard, tmp_path: Path) -> None:
    model = new_model(card, seed=1, device="cpu")
    save_model(model, tmp_path / "model")
    told = import_model(export_model(tmp_path / "model", tmp_path / "it.zip"), tmp_path / "back")
    assert (told.voxel_nm, told.licence) == ((card.voxel_nm if card is BLOCKS else (8.0, 8.0, 8.0)), "CC-BY-4.0")
    again = load_model(tmp_path / "back", device="cpu")
    read = [t + 2 * h for t, h in zip(again.card.tile, again.card.halo, strict=True)]
    image = np.random.default_rng(3).random((1, 1, *read), np.float32)
    # a range of uint8 is divided within the package, so there it takes the values before
    given = image * 255 if card is BLOCKS else image
    (got,), (want,) = again(given, [0]).values(), model(image, [0]).values()
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert np.ptp(want) > 1e-3


def test_a_guard_beside_the_weights_is_no_choice_between_networks(tmp_path: Path) -> None:
    """A boundary model with a guard in its folder is exported by its name; its guard is a model of its own."""
    save_model(new_model(SECTIONS, seed=1, device="cpu"), tmp_path / "model")
    save_model(new_model(SECTIONS, seed=2, device="cpu"), tmp_path / "model" / "guard")
    assert import_model(export_model(tmp_path / "model", tmp_path / "it.zip"), tmp_path / "back").name == "sections"


def test_a_translator_is_one_package_of_three_channels(tmp_path: Path) -> None:
    known = Recalibration((0.05, 0.1, 0.4, 0.8), (0.02, 0.2, 0.5, 1.5))
    translator = replace(translate_parts.untrained(), recalibration={"ensemble": known})
    translator.save(tmp_path / "translator")
    card = import_model(export_model(tmp_path / "translator", tmp_path / "it.zip"), tmp_path / "back")
    assert [output.name for output in card.outputs] == ["mean", "aleatoric", "epistemic"]
    again = load_model(tmp_path / "back", device="cpu")
    read = [t + 2 * h for t, h in zip(again.card.tile, again.card.halo, strict=True)]
    image = np.random.default_rng(3).random((1, 1, *read), np.float32)
    want = translator.predictor()(image, [0])
    for name, got in again(image, [0]).items():
        np.testing.assert_allclose(got, want[name], atol=1e-4, err_msg=name)
    assert np.ptp(want["epistemic"]) > 1e-3


def test_nothing_is_replaced_or_left_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "it.zip"
    there.write_bytes(b"mine")
    with pytest.raises(StoreError, match="exists; choose another name"):
        export_model("fly-medulla", there)
    assert there.read_bytes() == b"mine"
    save_model(new_model(SECTIONS, seed=1, device="cpu"), tmp_path / "model")
    monkeypatch.setattr(import_model_module, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="deviates from the package's test output"):
        export_model(tmp_path / "model", tmp_path / "other.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.zip", "model"]
    with pytest.raises(ModelError, match=r"several networks; export one: cells/level_0, cells/level_1, cells/level_2"):
        export_model("cells", tmp_path / "cells.zip")


def test_a_shipped_network_by_its_name_passes_their_own_test(tmp_path: Path) -> None:
    core = pytest.importorskip("bioimageio.core", reason="'bioimageio.core' is not installed")
    out = tmp_path / "cells.zip"
    done = CliRunner().invoke(cli, ["models", "export", "cells/level_2", str(out)])
    assert done.output == f"{out}: imported again, test tensors reproduced\n", done.output
    summary = core.test_model(out)
    assert summary.status == "passed", summary.display()
