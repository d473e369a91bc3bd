"""Playback and AdaBN before any label: when they are allowed, what they do, and where the patches come from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter

from napari_connecto.cli import cli
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.files import load_model, new_model
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.domains import PATCHES, Domain, save_about
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.params import DomainParams, PrepareParams
from napari_connecto.workflows.adapt.playback import judged, playback_job
from napari_connecto.workflows.adapt.prepare import prepare_job
from napari_connecto.workflows.adapt.train_domain import train_domain_job
from napari_connecto.workflows.recipes.parts import tuned_params
from napari_connecto.workflows.recipes.recipe import recipe_job
from napari_connecto.workflows.shared.em_labels import to_em
from tests.adapt_parts import library, tiny_card
from tests.workflows.watched import watched

VOXEL = (40.0, 8.0, 8.0)
PARAMS = {"patches": 48, "patch": 64, "steps": 4, "crop": 64, "batch": 2, "device": "cpu"}


def neuropil(seed: int) -> tuple[np.ndarray, np.ndarray]:
    made = phantom("neuropil", (12, 192, 192), seed=seed)
    return tuple(np.asarray(v.levels[0].array) for v in (made.image, made.truth["neurons"]))  # type: ignore[return-value]


def worn(image: np.ndarray) -> np.ndarray:
    """Blurred by 2 voxels, noised by 25, at 0.6 of the contrast."""
    blurred = gaussian_filter(image.astype(float), (0, 2.0, 2.0)) + np.random.default_rng(0).normal(0, 25, image.shape)
    return np.clip(np.rint(0.6 * blurred + 40), 0, 255).astype(np.uint8)


def volume(image: np.ndarray, name: str = "target") -> Volume:
    return Volume.from_array(image, VOXEL, name=name)


@pytest.fixture(scope="module")
def encoder() -> TorchEncoder:
    return TorchEncoder(new_model(tiny_card("encoder"), 0, device="cpu"))


@pytest.fixture(scope="module")
def source() -> list[Example]:
    image, neurons = neuropil(1)
    return [Example(image[z : z + 1], to_em(neurons[z : z + 1], "instances"), VOXEL) for z in range(12)]


@pytest.fixture(scope="module")
def model():
    return new_model(tiny_card("boundary"), 0, device="cpu")


@pytest.mark.slow
def test_a_worn_copy_of_the_kind_is_allowed_and_degrading_takes_nine_tenths_of_the_distance(source, model, encoder):
    stages = []
    target = volume(worn(neuropil(9)[0]))
    found = run(playback_job(model, source, target, encoder, PrepareParams(**PARAMS)), lambda p: stages.append(p.stage))
    assert found.allowed
    assert found.mmd2_after < 0.1 * found.mmd2_before
    assert "training" in stages
    assert found.model is not None
    card = found.model.card
    assert (card.parent, card.metrics["playback"]) == (model.card.digest, found.figures())
    assert card.metrics["fine_tune"]["patches"] == 12
    assert "playback of 12 restyled source patches" in card.training
    again = run(playback_job(model, source, target, encoder, PrepareParams(**PARAMS)))
    assert (again.model.card.digest, again.mmd2_after) == (card.digest, found.mmd2_after)


def test_a_target_that_looks_like_the_source_is_refused_and_nothing_is_trained(source, model, encoder):
    stages, target = [], volume(neuropil(1)[0])
    found = run(playback_job(model, source, target, encoder, PrepareParams(**PARAMS)), lambda p: stages.append(p.stage))
    assert (found.allowed, found.model) == (False, None)
    assert "already looks like 'target'" in found.reason
    assert "training" not in stages


def test_a_sharper_target_is_refused_where_degrading_cannot_bring_the_source_nearer(source, model, encoder):
    blunt = [Example(worn(e.image), e.labels, VOXEL) for e in source]
    found = run(playback_job(model, blunt, volume(neuropil(9)[0]), encoder, PrepareParams(**PARAMS, gain=0.5)))
    assert (found.allowed, found.model) == (False, None)
    assert found.mmd2_after > 0.5 * found.mmd2_before
    assert "playback needs a decrease of 50 % or more" in found.reason


@pytest.mark.parametrize(
    ("before", "after", "p", "allowed"),
    [(0.2, 0.1, 0.01, True), (0.2, 0.19, 0.01, False), (0.2, 0.3, 0.01, False), (0.2, 0.1, 0.05, False)],
)
def test_only_a_lower_discrepancy_of_images_that_differ_allows_it(before, after, p, allowed):
    assert judged(before, after, p, 0.1, "x")[0] is allowed


@pytest.mark.slow
def test_adabn_after_playback_keeps_the_chain_of_parents(source, model, encoder):
    target, params = volume(worn(neuropil(9)[0])), PrepareParams(**PARAMS)
    played = run(prepare_job(model, target, "playback", source, encoder, params))
    both = watched(prepare_job(model, target, "both", source, encoder, params))
    assert played.model.card.parent == model.card.digest
    assert both.model.card.parent == played.model.card.digest != both.model.card.digest
    assert (played.tiles, both.tiles) == (0, 48)
    assert both.changed > 0
    assert "to undo, use the original model" in both.lines()[-1]
    with pytest.raises(InputError, match="got how='none'; allowed: adabn, playback, both"):
        run(prepare_job(model, target, "none"))
    with pytest.raises(InputError, match="needs the source's patches and an encoder"):
        run(prepare_job(model, target, "both"))


@pytest.mark.slow
def test_a_domain_keeps_labelled_crops_only_if_told_so(tmp_path):
    image, neurons = neuropil(1)
    sizes = {"held_out": 0.5, "steps": 10, "crop": 64, "batch": 2, "depth": 3, "patches": 12, "device": "cpu"}
    labels = Volume.from_array(neurons, VOXEL, name="labels", kind="labels")
    made = {}
    for keep in (True, False):
        params = DomainParams(**sizes, keep_patches=keep)
        made[keep] = run(train_domain_job(f"{keep}", volume(image), labels, tmp_path / f"{keep}", None, params))
    kept = made[True].patches()
    assert len(kept) == 4  # one in each section that is learnt from
    truth = to_em(neurons, "instances")
    sections = {image[z, 16:176, 16:176].tobytes(): truth[z, 16:176, 16:176] for z in range(12)}
    for example in kept:
        assert (example.image.shape, example.image.dtype, example.voxel_nm) == ((1, 160, 160), np.uint8, VOXEL)
        np.testing.assert_array_equal(example.labels[0], sections[example.image.tobytes()])
    with pytest.raises(InputError, match=r"has no patches of its data.*--keep-patches.*a list of Examples"):
        made[False].patches()
    (made[True].folder / PATCHES).write_bytes(b"PK")
    with pytest.raises(ModelError, match="is damaged"):
        made[True].patches()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A library whose domain "near" has patches, and a worn volume."""
    folder = tmp_path_factory.mktemp("prepare")
    library(folder / "library", steps=3)
    image, neurons = neuropil(1)
    near = Domain.load(folder / "library/near")
    save_about(near.folder, near.about, near.features, (image, to_em(neurons, "instances")))
    save_volume(volume(worn(neuropil(9)[0])), folder / "worn.ome.zarr", levels=1)
    return folder


def preparing(work, out: str, **more) -> dict:
    recipe = {"workflow": "prepare", "volume": {"path": str(work / "worn.ome.zarr")}, "out": str(work / out)}
    recipe |= {"model": str(work / "library/near"), "library": str(work / "library"), "params": PARAMS}
    return recipe | more


@pytest.mark.slow
def test_the_recipe_saves_the_model_its_figures_and_the_old_thresholds(work):
    found = run(recipe_job(preparing(work, "both", how="both")))
    model = load_model(work / "both/model", backend="torch")
    assert model.card.digest == found.figures["digest"] != Domain.load(work / "library/near").card.digest
    told = json.loads((work / "both/prepare.json").read_text())
    assert told["playback"]["allowed"]
    assert told["playback"]["mmd2_after"] < 0.1 * told["playback"]["mmd2_before"]
    assert tuned_params(work / "both") == tuned_params(work / "library/near")
    chained = run(
        recipe_job(
            preparing(work, "again", how="playback", model=str(work / "both"), source=str(work / "library/near"))
        )
    )
    assert load_model(work / "again/model", backend="torch").card.parent == found.figures["digest"]
    assert chained.lines[0].startswith("playback done")
    with pytest.raises(InputError, match="is not a domain; name the domain that has them as the source"):
        run(recipe_job(preparing(work, "none", how="playback", model=str(work / "both"))))
    with pytest.raises(InputError, match="domain 'far' has no patches"):
        run(recipe_job(preparing(work, "none", how="playback", model=str(work / "library/far"))))
    assert not (work / "none").exists()


@pytest.mark.slow
def test_the_shell_does_what_the_recipe_does(work):
    options = [f"--{name}={value}" for name, value in PARAMS.items()]
    asked = ["prepare", str(work / "worn.ome.zarr"), "--model", str(work / "library/near"), "--how", "adabn"]
    shown = CliRunner().invoke(cli, [*asked, "--out", str(work / "shell"), *options, "--progress", "none"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("AdaBN: batch-norm statistics recomputed on 48 unlabelled tiles")
    made = load_model(work / "shell/model", backend="torch").card.digest
    assert run(recipe_job(preparing(work, "adabn", how="adabn"))).figures["digest"] == made
    assert (work / "shell/recipe.yaml").is_file()


@pytest.mark.slow
def test_fine_tuning_begins_with_what_was_prepared(work):
    session = {
        "workflow": "suggest",
        "volume": {"path": str(work / "worn.ome.zarr")},
        "out": str(work / "session"),
        "n": 3,
    }
    session |= {"model": str(work / "library/near"), "library": str(work / "library")}
    run(recipe_job(session | {"params": {"size": 64, "pool": 20}}))
    truth = to_em(neuropil(9)[1], "instances")
    save_volume(Volume.from_array(truth, VOXEL, name="truth", kind="labels"), work / "truth.zarr", levels=1)
    tune = preparing(work, "tuned", workflow="fine-tune", session=str(work / "session"), prepare=PARAMS)
    tune |= {
        "params": {"steps": 3, "crop": 64, "batch": 2, "device": "cpu"},
        "labels": {"path": str(work / "truth.zarr")},
    }
    found = run(recipe_job(tune | {"before_label": "adabn"}))
    start = load_model(work / "tuned/start", backend="torch").card
    assert load_model(work / "tuned/model", backend="torch").card.parent == start.digest
    assert start.parent == Domain.load(work / "library/near").card.digest
    assert "AdaBN: batch-norm statistics recomputed on 48 unlabelled tiles" in "\n".join(found.lines)
    with pytest.raises(InputError, match="got before_label='blur'; allowed: none, adabn, playback, both"):
        run(recipe_job(tune | {"before_label": "blur", "out": str(work / "none")}))
    with pytest.raises(InputError, match="an untrained model cannot be prepared"):
        run(recipe_job(tune | {"before_label": "both", "from_scratch": True, "out": str(work / "none")}))
    assert not (work / "none").exists()
