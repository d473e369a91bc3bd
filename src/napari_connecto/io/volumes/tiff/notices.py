"""Messages that tifffile logs while a file is opened, because they may mean missing or misread pixels."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import tifffile

from napari_connecto.core.errors import InputError
from napari_connecto.io.limits.damage import header_errors

# what says nothing of pixels, their order or their place
_HARMLESS = re.compile(
    "GDAL_NODATA|GeoKey|Datetime|invalid self.subfiletype|_tags> raised|eer_xml_metadata|imagej_metadata> raised|"
    "read_uic1tag|fluoview_metadata> raised|get_resolution|estimating ByteCounts|file name is invalid"
)
# what `tiff_ome` judges, for the image that is opened
_JUDGED = re.compile("OME series (failed to read|contains index out of range|contains invalid TiffData index)")
# tags that say where pixels are and what they mean (TIFF 6.0 and its supplements); others may be broken
_NEEDED = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347)
)


@contextmanager
def refusing(path: str) -> Iterator[None]:
    """`InputError` for what tifffile raises."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no file at '{path}'; check the path") from error
    except header_errors(tifffile.TiffFileError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"cannot open '{path}' as TIFF: {reason:.200}; check that it is complete") from error


@contextmanager
def opening(path: str) -> Iterator[list[str]]:
    """Collect what tifffile logs in this thread; raise `InputError` for what it raises, or says that it misreads.

    Yields
    ------
    list
        Messages that mean nothing for pixels, filled as they come.

    Raises
    ------
    InputError
        If the file is absent, damaged, or read by tifffile otherwise than it states.
    """
    harmless: list[str] = []
    serious: list[str] = []
    logger, thread = logging.getLogger("tifffile"), threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        if record.thread != thread or record.levelno < logging.WARNING:
            return True
        message = record.getMessage()
        if _JUDGED.search(message):
            return False
        (harmless if _is_harmless(message) else serious).append(re.sub(r"^<tifffile\.\w+[^>]*>\s*", "", message))
        return False

    logger.addFilter(note)
    try:
        with refusing(path):
            yield harmless
    finally:
        logger.removeFilter(note)
    if serious:
        raise InputError(
            f"'{path}' is damaged or contradicts itself ({serious[0]:.300}); copy it again, or write it again"
        )


def _is_harmless(message: str) -> bool:
    if tag := re.search(r"TiffTag (\d+) @", message):
        return int(tag[1]) not in _NEEDED
    return bool(_HARMLESS.search(message))
