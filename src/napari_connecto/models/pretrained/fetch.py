"""Download published weights from the Hugging Face hub, when a user asks for it, into the cache of that library."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
from tqdm import tqdm

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import Cancelled, InputError, StoreError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.models.pretrained.sources import CONFIG, SAFE, Repository, repository

T = TypeVar("T")
WAIT_S = 0.2


@dataclass(frozen=True)
class Offer:
    """What a download would bring.

    Parameters
    ----------
    encoder, repository
        Whose weights, and where they are.
    size
        Bytes.
    licence
        As the hub or timm states it; "" where neither does.
    sha256
        Of the file, "" if the hub states none.
    """

    encoder: str
    repository: Repository
    size: int
    licence: str
    sha256: str

    def __str__(self) -> str:
        licence = f"licence {self.licence}" if self.licence else "no licence stated"
        return f"{self.encoder}: {bytes_text(self.size)} from {self.repository.name} on huggingface.co, {licence}"


def offer(encoder: str) -> Offer:
    """Ask the hub for size and licence of an encoder's weights; needs the network, downloads nothing.

    Raises
    ------
    InputError
        If nothing is published for it, or the hub cannot be reached.
    """
    published = repository(encoder)
    if published is None:
        raise InputError(f"no weights are published for encoder '{encoder}'; see `napari-connecto models encoders`")
    address = huggingface_hub.hf_hub_url(published.name, SAFE, revision=published.revision or None)
    file = _asked(lambda: huggingface_hub.get_hf_file_metadata(address), published)
    licence = published.licence or _asked(partial(_licence, published), published)
    etag = file.etag or ""
    return Offer(encoder, published, file.size or 0, licence, etag if len(etag) == 64 else "")


def fetch_job(wanted: Offer) -> Job[Path]:
    """Download the weights; the file in the cache is whole or absent, and one that is there already is kept.

    Raises
    ------
    InputError
        If the hub cannot be reached.
    StoreError
        If what came is damaged.
    """
    meter = _meter()
    with suppress(InputError):  # of some encoders there is none
        _asked(partial(_download, wanted.repository, CONFIG, None), wanted.repository)
    task = _Task(partial(_asked, partial(_download, wanted.repository, SAFE, meter), wanted.repository))
    try:
        while not task.done.wait(WAIT_S):
            yield Progress(min(meter.done, wanted.size), wanted.size, f"downloading {wanted.encoder}")
    finally:
        meter.stopped = True
    path = task.result()
    if wanted.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != wanted.sha256:
        path.resolve().unlink(missing_ok=True)
        raise StoreError(
            f"the weights of {wanted.encoder} were damaged during download and have been deleted; download them again"
        )
    return path


class _Task:
    """A function in a thread of its own; a download that was cancelled ends with its next piece."""

    def __init__(self, function: Callable[[], Path]) -> None:
        self.done = threading.Event()
        self._path: Path | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, args=(function,), daemon=True).start()

    def _run(self, function: Callable[[], Path]) -> None:
        try:
            self._path = function()
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._error = error
        self.done.set()

    def result(self) -> Path:
        if self._error is not None:
            raise self._error
        assert self._path is not None
        return self._path


def _meter() -> Any:
    """A class of progress bars that only count, and stop the download that they count once ``stopped`` is true."""

    class Meter(tqdm):
        done, stopped = 0, False

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            Meter.done += int(n or 0)
            if Meter.stopped:
                raise Cancelled("the download was cancelled")
            return None

    return Meter


def _download(source: Repository, name: str, meter: Any) -> Path:
    get = huggingface_hub.hf_hub_download
    counted = {"tqdm_class": meter} if "tqdm_class" in signature(get).parameters else {}  # older ones take none
    return Path(get(source.name, name, revision=source.revision or None, **counted))


def _licence(source: Repository) -> str:
    card = huggingface_hub.model_info(source.name, revision=source.revision or None).card_data
    return str(card.get("license") or "") if card else ""


def _asked(question: Callable[[], T], source: Repository) -> T:
    try:
        return question()
    except Cancelled:
        raise
    except Exception as error:  # of whatever HTTP library the hub's client uses
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot get '{source.name}' from huggingface.co ({reason:.200}); check the connection, "
            "or give a file of weights"
        ) from error
