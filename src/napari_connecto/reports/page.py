"""The parts of a report page, and its HTML: one self-contained file."""

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
        What is shown and how to read it; also used as alternative text.
    wide
        Spans the whole width of the page; two narrow ones are placed side by side.
    """

    uri: str
    caption: str
    wide: bool = True


@dataclass(frozen=True)
class Table:
    """Cells as text; columns whose cells all start with a digit are right-aligned."""

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
    """A heading with sentences, figures and tables, in this order.

    ``source`` is shown last, verbatim; ``folded`` sections are opened by the reader.
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
        Heading, and name of the workflow.
    folder
        Result folder.
    verdict
        The main result in one sentence.
    keys
        Headline figures: value and label.
    warnings
        What a reader must know before relying on the result.
    """

    title: str
    kind: str
    folder: str
    verdict: str
    keys: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


def html(title: str, chapters: Sequence[Chapter], made: datetime | None = None) -> str:
    """The page with some chapters; names in them are escaped."""
    loader = PackageLoader("napari_connecto", "reports/templates")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    when = (made or datetime.now()).strftime("%Y-%m-%d %H:%M")
    return page.get_template("page.html").render(title=title, chapters=chapters, made=when, version=__version__)
