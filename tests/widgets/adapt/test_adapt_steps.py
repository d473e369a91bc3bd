"""The stepper: what can be done next follows from what there is, and one button does it."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("napari")

from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.widgets.adapt.steps.plan import Next, Situation, blocked, next_of
from tests.widgets.adapt_steps import commit, half, settle

SITUATIONS = st.builds(
    Situation,
    step=st.integers(1, 5),
    models=st.integers(0, 9),
    source=st.sampled_from(["", "near"]),
    session=st.booleans(),
    wanted=st.integers(1, 9),
    opened=st.integers(0, 3),
    waiting=st.integers(0, 3),
    learnt=st.integers(0, 3),
    held=st.integers(0, 3),
    tuned=st.booleans(),
    compared=st.booleans(),
    kept=st.sampled_from(["", "near"]),
    result=st.sampled_from(["", "segments-1"]),
    proofreading=st.booleans(),
)


@given(SITUATIONS)
def test_next_always_says_something_and_never_repeats_itself_for_ever(now):
    """Each press leads to another step, or starts something; it never does nothing."""
    found = next_of(now)
    assert found.text
    assert 1 <= found.step <= 5
    assert found.act or found.step != now.step
    assert 1 not in blocked(now)


def test_from_nothing_to_segments_step_by_step():
    now = Situation(1, models=3, wanted=6)
    assert set(blocked(now)) == {2, 3, 4, 5}
    assert next_of(now) == Next("Rank 3 models on this image", 1, "rank")
    now = replace(now, source="near")
    assert set(blocked(now)) == {3, 4}
    assert next_of(now) == Next("Suggest patches with near", 2, "suggest")
    now = replace(now, step=2, session=True, waiting=1)
    assert next_of(now) == Next("Open patch 1", 2, "open")
    now = replace(now, opened=1)
    assert next_of(now) == Next("Commit patch 1 and go on (C)", 2, "commit")
    now = replace(now, opened=0, waiting=0, learnt=1, held=2, kept="near")
    assert next_of(now) == Next("Next: fine-tune on 1 patch", 3)
    now = replace(now, step=3)
    assert next_of(now) == Next("Fine-tune on 1 patch", 3, "tune")
    now = replace(now, tuned=True)
    assert not blocked(now)
    assert next_of(now) == Next("Compare on 2 held-out patches", 4, "compare")
    now = replace(now, step=4, compared=True)
    assert next_of(now) == Next("Next: segment", 5)
    now = replace(now, step=5)
    assert next_of(now) == Next("Segment", 5, "segment")
    assert next_of(replace(now, result="segments-1")).act == "proofread"


@given(SITUATIONS, st.text(min_size=1, max_size=80))
def test_a_name_never_makes_the_button_too_wide_to_read(now, name):
    shown = next_of(replace(now, source=now.source and name, kept=now.kept and name))
    assert len(shown.text) <= 45


@pytest.mark.gl
def test_the_button_goes_through_the_steps_and_grey_ones_say_why(dock, qtbot):
    button, line = dock.next.button, dock.stepper.line
    assert button.text() == "Rank 2 models on this image ▶"
    dock.headings[3].click()
    assert (dock.step, line.text()) == (1, "4 Compare: fine-tune in step 3 first.")
    dock.choose.choose("near")
    assert button.text() == "Suggest patches with near ▶"
    button.click()
    assert dock.step == 2
    assert not button.isEnabled()
    settle(dock.annotate.bar, qtbot)
    assert button.text() == "Open patch 1 ▶"
    button.click()
    qtbot.waitUntil(lambda: dock.annotate.opened is not None, timeout=30000)
    assert button.text() == "Commit patch 1 and go on (C) ▶"
    half(dock)
    first = dock.annotate.opened.id
    button.click()
    qtbot.waitUntil(lambda: dock.annotate.opened is not None and dock.annotate.opened.id != first, timeout=30000)
    assert dock.project.work.session.counts()[0] == 1
    dock.next.back.click()
    assert dock.step == 1
    assert button.text() == "Next: annotate ▶"


@pytest.mark.gl
def test_an_earlier_session_of_the_image_is_found_by_itself(opened, viewer, qtbot):
    """A dock that opens on the same file offers to continue; one press brings patches and labels back."""
    from napari_connecto.io.volumes.read import open_volume
    from napari_connecto.widgets.adapt import dock as adapt
    from napari_connecto.widgets.viewer.show import layer_data

    half(opened)
    commit(opened, qtbot)
    opened.close_jobs()
    path = opened.project.work.spec.path
    data, keywords, _ = layer_data(open_volume(path), name="again")
    viewer.add_image(data, **keywords)
    other = adapt.AdaptWidget(viewer)
    viewer.window.add_dock_widget(other, name="again")
    try:
        other.image.layers.setCurrentText("again")
        row = other.annotate.row
        qtbot.waitUntil(lambda: bool(row.found), timeout=20000)
        assert row.where.text() == "Earlier session: 1 of 3 committed"
        row.again.click()
        settle(other.annotate.bar, qtbot)
        assert other.project.work.session.path == opened.project.work.session.path
        assert other.project.work.session.counts() == (1, 3)
        assert "1 of 3 committed" in row.where.text()
    finally:
        other.close_jobs()
