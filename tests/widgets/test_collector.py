"""Laws of the garbage collector while docks are open: short pauses, and nothing of the user's is kept."""

from __future__ import annotations

import gc
import weakref
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.viewer import collector
from napari_connecto.widgets.viewer.collector import Collector
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import RESULT


class Node:
    """Garbage that only a collection frees."""

    def __init__(self) -> None:
        self.itself, self.held = self, np.zeros(9)


@pytest.fixture(autouse=True)
def unfrozen():
    """As in a process of a user, where nobody has frozen anything."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def always(monkeypatch):
    """Every full collection counts as a long one."""
    monkeypatch.setattr(collector, "LONG_S", 0.0)


@pytest.fixture
def opened(always):
    made = Collector()
    made.open("dock")
    yield made
    made.close("dock")


def test_what_survived_a_long_collection_is_not_searched_again(opened):
    """Modules that are loaded while a dock is open lengthen one collection, not all."""
    loaded = [[n] for n in range(1000)]
    assert any(each is loaded for each in gc.get_objects())
    gc.collect()
    assert not any(each is loaded for each in gc.get_objects())


def test_a_short_collection_freezes_nothing(monkeypatch):
    """Otherwise results of a job would be kept by whatever collection comes first."""
    monkeypatch.setattr(collector, "LONG_S", 1e9)
    made = Collector()
    made.open("dock")
    made_later = [[n] for n in range(10)]
    gc.collect()
    assert any(each is made_later for each in gc.get_objects())
    made.close("dock")


def test_garbage_of_later_is_still_collected(opened):
    """What is made and dropped between two collections is freed by the second."""
    gone = weakref.ref(Node())
    gc.collect()
    assert gone() is None


def test_what_was_left_out_is_freed_after_search_all(opened):
    """A frozen object that dies is kept until all is searched, and no longer."""
    node = Node()
    gc.collect()
    kept = weakref.ref(node)
    del node
    gc.collect()
    assert kept() is not None
    opened.search_all()
    gc.collect()
    assert kept() is None


def test_what_still_lives_in_the_first_collection_after_search_all_is_freed_in_the_second(opened):
    """napari collects inside the removal of a layer, which ends only after it."""
    node = Node()
    gc.collect()
    opened.search_all()
    gc.collect()
    kept = weakref.ref(node)
    del node
    gc.collect()
    assert kept() is None


def test_the_last_dock_leaves_python_as_it_was(always):
    """Two docks, one viewer: the first that closes changes nothing, the last all."""
    callbacks, made = list(gc.callbacks), Collector()
    for dock in ("one", "two"):
        made.open(dock)
    made.close("one")
    assert gc.get_freeze_count() > 0
    made.close("two")
    made.close("two")  # the dock's widget is destroyed after it was closed
    assert (gc.get_freeze_count(), gc.callbacks) == (0, callbacks)


def test_what_another_program_has_frozen_stays_frozen(always):
    """Freezing is the process's; where someone else does it, we do not."""
    gc.freeze()
    count = gc.get_freeze_count()
    made = Collector()
    made.open("dock")
    made.search_all()
    made.close("dock")
    assert gc.get_freeze_count() > count // 2  # a frozen object is still freed with its last reference


@pytest.fixture
def docked(own_viewer, always):
    """A dock with its image box, which is on the only image, named "big"; it was kept, and a collection came."""
    dock, box = Dock(), InputBox(own_viewer)
    dock.follow(own_viewer, box)
    own_viewer.add_image(np.zeros((4, 40, 40), np.uint8), name="big")
    box.newest.keep()
    gc.collect()
    assert gc.get_freeze_count() > 0
    yield own_viewer
    box.close_jobs()
    dock.close_jobs()
    assert gc.get_freeze_count() == 0


@pytest.mark.gl
@pytest.mark.parametrize("metadata", [{}, {RESULT: True}], ids=["image", "result"])
def test_a_layer_that_is_removed_while_a_dock_is_open_is_freed(docked, metadata):
    """Its memory is what a user wants back; results hold what they show."""
    docked.add_image(np.zeros((4, 40, 40), np.uint8), name="second", metadata=metadata)
    gone = weakref.ref(docked.layers["second"].data)
    gc.collect()
    docked.layers.remove("second")
    gc.collect()
    assert gone() is None


@pytest.mark.gl
def test_the_image_of_a_dock_is_freed_when_it_is_removed(docked):
    """Chosen and worked on: the dock lets go of it."""
    gone = weakref.ref(docked.layers["big"].data)
    docked.layers.remove("big")
    gc.collect()
    assert gone() is None


@pytest.mark.gl
def test_an_image_that_is_removed_before_a_dock_opens_is_freed(own_viewer, always):
    """Garbage must not be left out with the rest."""
    own_viewer.add_image(np.zeros((4, 40, 40), np.uint8), name="big")
    gone = weakref.ref(own_viewer.layers["big"].data)
    own_viewer.layers.remove("big")
    dock = Dock()
    dock.follow(own_viewer, MagicMock())
    gc.collect()
    assert gone() is None
    dock.close_jobs()


@pytest.mark.gl
def test_results_that_go_together_cost_one_full_collection(docked):
    """napari collects whenever a layer is removed, and each collection stops the viewer."""
    shown, voxels = Shown(docked), np.zeros((4, 40, 40), np.uint8)
    for name in ("map", "marks", "mask"):
        shown.layers[name] = docked.add_image(voxels, name=name, metadata={RESULT: True})
    before = gc.get_stats()[2]["collections"]
    shown.clear()
    assert gc.get_stats()[2]["collections"] == before + 1
    assert [layer.name for layer in docked.layers] == ["big"]
