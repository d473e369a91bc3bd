"""What a page consists of, and its HTML: one file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from napari_connecto import __version__


@dataclass(frozen=True)
class Figure:
    """A picture or a chart.

    Parameters
    ----------
    uri
        ``data:`` URI.
    caption
        What is seen and how to read it; also the alternative text.
    wide
        Over the page's whole width; two narrow ones stand side by side.
    """

    uri: str
    caption: str
    wide: bool = True


@dataclass(frozen=True)
class Table:
    """Cells as text; columns whose cells all begin with a figure are set to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """By column: whether it holds numbers."""
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return tuple(all(c == "" or c[0].isdigit() or c[0] in "+-–" for c in column) for column in cells)


@dataclass(frozen=True)
class Section:
    """A heading with sentences, figures and tables below it, in this order.

    ``source`` is shown last, as it is written; ``folded`` sections are opened by the reader.
    """

    title: str
    lines: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    source: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Chapter:
    """One result.

    Parameters
    ----------
    title, kind
        What was done to what, and the workflow's name.
    folder
        Of the result.
    verdict
        The one sentence to remember.
    keys
        Headline figures: value, what it is.
    warnings
        What a reader must know before believing the rest.
    """

    title: str
    kind: str
    folder: str
    verdict: str
    keys: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


def html(title: str, chapters: Sequence[Chapter], made: datetime | None = None) -> str:
    """The page of some chapters; names in them are text, whatever they say."""
    loader = PackageLoader("napari_connecto", "reports/templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    when = (made or datetime.now()).strftime("%Y-%m-%d %H:%M")
    return page.get_template("page.html").render(title=title, chapters=chapters, made=when, version=__version__)
