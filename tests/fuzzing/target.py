"""What is fuzzed: how inputs are made, what takes them, and how an attempt may end."""

from __future__ import annotations

import mmap
import signal
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType
from typing import Any, NoReturn

import click

from napari_connecto.core.errors import ConnectoError

REFUSALS = (ConnectoError, click.ClickException, click.exceptions.Exit, click.Abort)
LONGEST = 1000
"""Characters of a message that can still be called one line."""
SECONDS = 5.0
"""Processor time that one input may take."""


class TooSlowError(BaseException):
    """An input that took too long; no ``except Exception`` holds it up."""


class ConnectedError(BaseException):
    """Something reached for the network."""


@dataclass(frozen=True)
class Target:
    """One class of input.

    Parameters
    ----------
    name
        In the table.
    make
        One input, by random choices.
    feed
        Takes it; returns if it is accepted.
    """

    name: str
    make: Callable[[Random], Any]
    feed: Callable[[Any], None]


def deep(data: bytes) -> bool:
    """Whether an input, if it is accepted, goes all the way: one in 16, for networks take long."""
    return zlib.crc32(data) % 16 == 0


def accepted(target: Target, value: Any, seconds: float = SECONDS) -> bool:
    """Whether an input was accepted; False if it was refused as it should be: by an error of ours, in one short line.

    Raises
    ------
    AssertionError
        If the message is no short line.
    TooSlowError, ConnectedError
        If it took longer than ``seconds``, or reached for the network.
    """
    refusal: Exception | None = None
    with in_time(seconds), no_network():
        try:
            target.feed(value)
        except REFUSALS as error:
            refusal = error
    if refusal is None:
        return True
    usage = isinstance(refusal, click.ClickException)  # `cli.main` makes one line of these
    line = refusal.format_message() if usage else str(refusal)  # type: ignore[attr-defined]
    assert usage or (len(line) <= LONGEST and line.isprintable()), f"a message of {len(line)} characters"
    return False


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` in the main thread if the block takes more processor time, of all threads together."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def no_network() -> Iterator[None]:
    """Raise `ConnectedError` where a socket is to be connected or a name looked up."""

    seen = mmap.mmap(-1, 1)  # shared with processes that are forked inside

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        seen[0] = 1
        raise ConnectedError(f"a connection to {args[1:]!r:.100}")

    kept = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
    socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = refuse, refuse, refuse  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo = kept  # type: ignore[method-assign]
    if seen[0]:
        raise ConnectedError("a connection, whose failure nobody told")
