"""Monitor a cluster: whether it and its workers answer, with a one-line message if they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic, sleep
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client

from napari_connecto.compute.versions import check_own, check_versions, own_version
from napari_connecto.core.errors import ClusterError

LOOK_S = 5.0
"""Seconds between two checks."""
ANSWER_S = 20.0
"""Seconds without an answer after which a scheduler counts as lost."""
SILENT_S = 30.0
"""Seconds without a sign of life after which a worker counts as lost: its tasks go to others."""
EMPTY_S = 90.0
"""Seconds that a run waits for workers if none answers."""
GPU = "GPU"
"""The resource that workers with a GPU offer: ``dask worker --resources "GPU=1"``."""
_CHECKED: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()
"""By client, the workers that are known to run the same versions."""
NOT_HERE: dict[str, Any] = {"asynchronous": True}
KEPT = "finished parts are saved, and the same run resumes from there"


class Watch:
    """State of a client's cluster; `look` updates it.

    Parameters
    ----------
    client
        Of the cluster.
    gpu
        Whether tasks want a GPU. They ask for one only where some worker offers it, and then until the end.

    Attributes
    ----------
    slots : dict
        Tasks at once by the address of each worker that answers and would take them.
    silent : set
        Addresses of workers that the scheduler believes in and that give no sign of life.
    """

    def __init__(self, client: Client, *, gpu: bool = False) -> None:
        self.client = client
        self.slots: dict[str, int] = {}
        self.silent: set[str] = set()
        self.lost = False
        self._gpu, self._offered = gpu, False
        self._address = client.scheduler.address if client.scheduler is not None else "?"
        self._heard: dict[str, tuple[float, float]] = {}
        self._known = _CHECKED.setdefault(client, set())
        self._answered = monotonic()

    @property
    def resources(self) -> dict[str, int] | None:
        """Resources that a task requests."""
        return {GPU: 1} if self._offered else None

    def look(self) -> None:
        """Update the list of workers.

        Raises
        ------
        ClusterError
            If the scheduler is lost, or no worker has answered for `EMPTY_S`.
        """
        workers = self.ask(lambda: self.client.scheduler.identity())["workers"]
        now, newest = monotonic(), max((worker["last_seen"] for worker in workers.values()), default=0.0)
        self.silent = {address for address, worker in workers.items() if self._silent(address, worker, now, newest)}
        answering = {address: worker for address, worker in workers.items() if address not in self.silent}
        self._compare(answering)
        offers = {a: int(n) for a, w in answering.items() if (n := w.get("resources", {}).get(GPU, 0)) >= 1}
        self._offered = self._offered or (self._gpu and bool(offers))
        self.slots = offers if self._offered else {a: w["nthreads"] for a, w in answering.items()}
        if self.slots:
            self._answered = now
        elif now - self._answered > EMPTY_S:
            what = f"none of its {len(workers)} workers answers" if workers else "it has no workers"
            what += " with a GPU" if self._offered else ""
            raise ClusterError(
                f"the Dask scheduler at {self._address} can run nothing: {what}; "
                f"start some with `dask worker {self._address}`; {KEPT}"
            )

    def _compare(self, workers: Iterable[str]) -> None:
        """Compare the versions of workers that are new, and at first of the scheduler, with those here."""
        new = sorted(set(workers) - self._known)
        if not new:
            return
        scheduler = self.ask(lambda: self.client.scheduler.versions(packages=[])) if not self._known else None
        message: dict[str, Any] = {"op": "versions", "packages": []}
        told = self.ask(lambda: self.client.scheduler.broadcast(msg=message, workers=new, on_error="ignore"))
        check_versions(scheduler, told)
        check_own(self.ask(partial(self.client.run, own_version, workers=list(told), on_error="return", **NOT_HERE)))
        self._known.update(told)

    def _silent(self, address: str, worker: dict[str, Any], now: float, newest: float) -> bool:
        """By the scheduler's clock if other workers are heard, else by the local clock."""
        last = worker["last_seen"]
        if self._heard.get(address, (None, 0.0))[0] != last:
            self._heard[address] = (last, now)
        return newest - last > SILENT_S or now - self._heard[address][1] > SILENT_S

    def wait(self) -> None:
        """Until some worker answers; `ClusterError` as for `look`."""
        self.look()
        while not self.slots:
            sleep(1.0)
            self.look()

    def ask(self, what: Callable[[], Any], within_s: float | None = None) -> Any:
        """The answer of a coroutine of the client, within `ANSWER_S` unless more is allowed.

        Raises
        ------
        ClusterError
            If there is none.
        """
        until = monotonic() + ANSWER_S
        while self.client.status == "connecting" and monotonic() < until:
            sleep(0.1)
        try:
            if self.client.status != "running":
                raise OSError("the connection is closed")
            answer = self.client.sync(what, callback_timeout=within_s or ANSWER_S)
        except (OSError, RuntimeError, AttributeError) as error:  # a client that is being closed has no scheduler
            self.lost = True
            raise ClusterError(
                f"lost the Dask scheduler at {self._address} ({' '.join(str(error).split())}); "
                f"start it again, or mend the network; {KEPT}"
            ) from error
        self.lost = False
        return answer
