"""Folders lent to a browser on this machine: read-only, over HTTP with ranges, and nothing but them.

Any page that the user has open may ask 127.0.0.1 for files. The address therefore holds a secret that such a page
cannot guess, requests must name this machine as their host, and links that lead out of a folder are refused.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from napari_connecto.core.errors import InputError

HOST = "127.0.0.1"
_PART = 2**20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")


class FolderServer(ThreadingHTTPServer):
    """Serves folders at ``url(i)`` until it is closed; a context manager that starts and ends its thread.

    Parameters
    ----------
    folders
        Each served with all below it, under its number.
    port
        0 takes a free one.

    Raises
    ------
    InputError
        If a folder is absent, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], port: int = 0) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"no folder at '{folder}'; give one that is on this machine")
        self.folders = [folder.resolve() for folder in folders]
        self.secret = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot listen on port {port} of {HOST} ({error}); choose another (--port)") from error
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="connecto serve", daemon=True)

    @property
    def root(self) -> str:
        """Address of all, without a slash at the end."""
        return f"http://{HOST}:{self.server_port}/{self.secret}"

    def url(self, number: int) -> str:
        """Address of a folder, with a slash at the end."""
        return f"{self.root}/{number}/"

    def find(self, target: str) -> Path | None:
        """The file that a request names, if it lies in a folder that is served."""
        parts = unquote(urlsplit(target).path).split("/")
        if len(parts) < 4 or not secrets.compare_digest(parts[1].encode(), self.secret.encode()):
            return None
        if not parts[2].isdecimal() or int(parts[2]) >= len(self.folders) or any("\0" in part for part in parts):
            return None
        folder = self.folders[int(parts[2])]
        path = folder.joinpath(*(part or "." for part in parts[3:])).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None

    def __enter__(self) -> FolderServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FolderServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_OPTIONS(self) -> None:
        """A browser asks before it sends a range from another page."""
        self._start(HTTPStatus.NO_CONTENT, 0)

    def log_message(self, format: str, *args: object) -> None:
        """A browser asks for thousands of chunks: nothing is logged."""

    def _answer(self, body: bool) -> None:
        own = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        path = self.server.find(self.path) if self.headers.get("Host") in own else None
        if path is None:
            self._start(HTTPStatus.NOT_FOUND, 0)
            return
        try:
            with path.open("rb") as file:
                self._send(file, path.stat().st_size, "json" in path.name or path.name == "info", body)
        except OSError:  # the file went, or the browser did
            self.close_connection = True

    def _send(self, file: BinaryIO, size: int, is_json: bool, body: bool) -> None:
        wanted = self.headers.get("Range")
        part = _range(wanted, size) if wanted else (0, size)
        if part is None:
            self._start(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, {"Content-Range": f"bytes */{size}"})
            return
        start, stop = part
        kind = {"Content-Type": "application/json" if is_json else "application/octet-stream"}
        where = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if wanted else {}
        self._start(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, stop - start, kind | where)
        if not body:
            return
        file.seek(start)
        left = stop - start
        while left and (block := file.read(min(left, _PART))):
            self.wfile.write(block)
            left -= len(block)

    def _start(self, status: HTTPStatus, length: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        always = {
            "Content-Length": str(length),
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
            "Access-Control-Allow-Headers": "Range",
            "Access-Control-Expose-Headers": "Content-Range, Content-Length, Accept-Ranges",
            "Access-Control-Allow-Private-Network": "true",
        }
        for name, value in {**always, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Start and stop of a Range header with one part; None where it asks for nothing that is there."""
    match = _RANGE.match(text.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    start, stop = int(first), min(int(last) + 1 if last else size, size)
    return (start, stop) if start < stop else None
