"""Read zarr over HTTP from unreliable servers: requests time out and are retried."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

TRIES = 4
WAIT_S = 0.25
"""Before the second try; twice as long before each further one."""
CONNECT_S, SILENT_S = 10.0, 30.0
"""A server that does not answer, or falls silent, for so long has failed."""


class PatientStore(WrapperStore[Store]):
    """A store whose reads are tried again where the fault may pass: no connection, a time-out, 429 and 5xx."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Bytes of a chunk or a part of it, None where there is none."""
        for tried in range(1, TRIES + 1):
            try:
                return await super().get(key, prototype, byte_range)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                if tried == TRIES or not _passes(error):
                    raise
            await asyncio.sleep(WAIT_S * 2 ** (tried - 1))
        raise AssertionError("unreachable")


def http_store(url: str) -> Store:
    """The store at an http(s) URL, read-only. Object stores (s3fs) have tries and time-outs of their own."""
    limits: dict[str, Any] = {"total": None, "sock_connect": CONNECT_S, "sock_read": SILENT_S}
    options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(**limits)}}
    return PatientStore(FsspecStore.from_url(url, storage_options=options, read_only=True))


def _passes(error: Exception) -> bool:
    return not isinstance(error, aiohttp.ClientResponseError) or error.status == 429 or error.status >= 500
