"""Bytes and seconds in readable units, the same everywhere."""

from __future__ import annotations


def bytes_text(n: float) -> str:
    """A size: "1.3 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def seconds_text(seconds: float) -> str:
    """A duration: "2 min 05 s", from ten minutes without seconds: "16 min"."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds >= 599.5:
        hours, m = divmod(round(seconds / 60), 60)
        return f"{hours} h {m:02d} min" if hours else f"{m} min"
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes} min {s:02d} s"


def counted(n: int, noun: str) -> str:
    """A number of things in words: "1 tile", "3 tiles"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def share_text(share: float) -> str:
    """Per cent, with one decimal if it is small: "47 %", "3.1 %"."""
    return percent(share, 0 if share >= 0.1 or share == 0 else 1)


def percent(share: float, digits: int = 0) -> str:
    """Per cent, with so many decimals: "5 %"."""
    return f"{100 * share:.{digits}f} %"


def change(share: float, digits: int = 0) -> str:
    """A relative change in per cent, with its sign: "+5 %"."""
    return f"{100 * share:+.{digits}f} %"
