"""Law: a model that an older version saved is the same model today."""

from __future__ import annotations

import json

import numpy as np
import pytest

import napari_connecto as nc
from tests.old.home import ANSWERS, V0_1, answers


def boundary():
    return nc.load_model(V0_1 / "results/adapt-em/tuned-1/model", device="cpu", backend="torch")


def stage(n):
    return nc.load_cascade(V0_1 / "models/cells", backend="torch").stages[n]


def member(n):
    return nc.load_translator(V0_1 / "models/em-like/translator", backend="torch").members[n]


MODELS = {
    "boundary": (boundary, "results/adapt-em/tuned-1/model"),
    "cells-0": (lambda: stage(0), "models/cells/level_0"),
    "cells-1": (lambda: stage(1), "models/cells/level_1"),
    "em-like-0": (lambda: member(0), "models/em-like/translator/member_0"),
    "em-like-1": (lambda: member(1), "models/em-like/translator/member_1"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_as_it_did(name):
    load, folder = MODELS[name]
    network, card = load(), json.loads((V0_1 / folder / "card.json").read_text())
    assert json.loads(json.dumps(network.card.to_json())) == card
    with np.load(V0_1 / ANSWERS) as kept:
        then = {key.split()[1]: kept[key] for key in kept.files if key.split()[0] == name}
    now = answers(network)
    assert now.keys() == then.keys() != set()
    for output, answer in now.items():
        assert then[output].std() > 0
        np.testing.assert_allclose(answer, then[output], atol=1e-4)


def test_a_cascade_keeps_what_was_measured_with_it():
    cascade = nc.load_cascade(V0_1 / "models/cells", backend="torch")
    document = json.loads((V0_1 / "models/cells/cascade.json").read_text())
    assert (cascade.name, len(cascade.stages)) == ("cells", 2)
    assert cascade.rule.threshold == document["rule"]["threshold"]
    assert cascade.choose().thresholds == pytest.approx((0.6, 0.97335), abs=1e-4)
    assert cascade.gate is not None


def test_a_translator_keeps_its_calibration():
    translator = nc.load_translator(V0_1 / "models/em-like/translator", backend="torch")
    document = json.loads((V0_1 / "models/em-like/translator/translator.json").read_text())
    assert (translator.name, len(translator.members)) == ("em-like", 2)
    assert translator.about["metrics"] == document["about"]["metrics"]
    assert translator.recalibration.keys() == document["recalibration"].keys() != set()


def test_a_model_keeps_the_thresholds_that_were_tuned_with_it():
    from napari_connecto.workflows.recipes.parts import tuned_params

    folder = V0_1 / "results/adapt-em/tuned-1"
    kept = json.loads((folder / "segment.json").read_text())
    later = {"directions": "auto", "link_by": "overlap", "caution": None, "volumetric": True, "flips": False}
    assert vars(tuned_params(folder)) == vars(tuned_params(folder / "model")) == kept | later
