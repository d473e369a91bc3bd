"""A translation that follows the view: one pass first, then all of them, with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from napari_connecto.compute.lazy import Tiles
from napari_connecto.compute.live.answers import Answers
from napari_connecto.compute.live.mosaic import Blocks, Mosaic, Part, Picture
from napari_connecto.compute.live.work import Key
from napari_connecto.compute.options import default_batch
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.predict import Blocks as Predicted
from napari_connecto.core.predict import check_channels
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.workflows.shared.filling import Keep, open_store, rounded
from napari_connecto.workflows.shared.live import grids, in_view, room
from napari_connecto.workflows.xray.translate import job_fingerprint, stored_metadata
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator

FIRST, MEAN, UNCERTAINTY = "first pass", "mean", "uncertainty"
BYTES = 2
"""Of a voxel in memory: half precision, which is 2^-11 of the brightness range at most; the folder has all digits."""


class LiveTranslation:
    """See `LiveWork`: maps "first pass", "mean" and "uncertainty"; the last two fill the folder of the translation.

    The mean shows the first pass until all passes are there. The uncertainty is the total standard deviation, which
    needs all of them; it is empty until then.

    Parameters
    ----------
    volume, translator, params, out, client
        As in `translate`.
    blocks
        Keeps what is shown.

    Raises
    ------
    VoxelSizeError, InputError, StoreError
        As `translate` does.
    """

    def __init__(
        self,
        volume: Volume,
        translator: Translator,
        params: TranslateParams,
        out: Path,
        blocks: Blocks,
        client: Any = None,
    ) -> None:
        self._level = fitting_level(volume, translator.card)
        translator = translator.fitted(self._level.shape)
        predictor = translator.predictor(params)
        card, mixture = predictor.card, predictor.mixture
        check_channels(self._level, card)
        self._plan = TilePlan(self._level.shape, card.tile, card.halo)
        self._volume, self._blocks, self._lock = volume, blocks, Lock()
        scaling, self._batch = card.normalisation.resolve(volume), default_batch(card)
        whole = Tiles(volume, self._level, predictor, scaling)
        self._answers = {MEAN: Answers(whole, self._batch, client=client)}
        if len(mixture.passes) > 1:
            quick = Tiles(volume, self._level, mixture.first(1), scaling)
            self._answers[FIRST] = Answers(quick, self._batch, client=client)
        self.threads = predictor.calls
        self._room = room(self._plan, 3 * BYTES, blocks.limit // 2)
        shown, parts = grids(self._level), {n: Part(n, self._level, self._plan) for n in (FIRST, MEAN, UNCERTAINTY)}
        self.pictures = [
            Picture(MEAN, Mosaic([parts[FIRST], parts[MEAN]], blocks), shown),
            Picture(UNCERTAINTY, Mosaic([parts[UNCERTAINTY]], blocks), shown),
        ]
        self._job = JobFolder.open(out, job_fingerprint(volume, predictor, params))
        try:
            self._store = open_store(out, volume, predictor, "float32", stored_metadata(translator))
            self._stored = {name: self._store.volume(name).levels[0] for name in self._store.outputs}
            self._done = set(self._store.done().tolist())
        except BaseException:
            self._job.close()
            raise

    def order(self, view: Box) -> list[Key]:
        """See `LiveWork`: the first pass of all tiles, then all passes; nearest first."""
        indices = in_view(self._plan, self._level, self._volume, view)[: self._room].tolist()
        quick = FIRST in self._answers
        first = [(FIRST, i) for i in indices if quick and i not in self._done and not self.has((MEAN, i))]
        found = first + [(MEAN, i) for i in indices]
        self._blocks.want([*found, *((UNCERTAINTY, i) for i in indices)])
        return found

    def has(self, key: Key) -> bool:
        """See `LiveWork`."""
        return key in self._blocks and (key[0] == FIRST or (UNCERTAINTY, key[1]) in self._blocks)

    def group(self, name: str) -> int:
        """See `LiveWork`."""
        return self._batch

    def compute(self, keys: Sequence[Key]) -> bool:
        """See `LiveWork`: tiles that the folder has are read from it."""
        name, indices = keys[0][0], [index for _, index in keys]
        todo = [index for index in indices if name == FIRST or index not in self._done]
        for index in (index for index in indices if index not in todo):
            write = self._plan[index].write
            self._show(index, {name: level.read(write) for name, level in self._stored.items()})
        for index, answer in zip(todo, self._answers[name](todo) if todo else (), strict=True):
            assert answer is not None  # damaged chunks are errors
            if name == FIRST:
                self._blocks.put((FIRST, index), answer[MEAN].astype(np.float16))
                continue
            Keep(self._store)(self._plan[index], answer)
            with self._lock:
                self._store.mark(index)
                self._done.add(index)
            self._show(index, rounded(answer))
        return False

    def derive(self, view: Box) -> None:
        """See `LiveWork`: everything is in the tiles."""

    def close(self) -> None:
        """See `LiveWork`."""
        self._job.close()

    def _show(self, index: int, answer: Predicted) -> None:
        total = np.hypot(answer["aleatoric"], answer["epistemic"])
        self._blocks.put((UNCERTAINTY, index), total.astype(np.float16))
        self._blocks.put((MEAN, index), answer[MEAN].astype(np.float16))
