"""Folders lent to a browser on this machine: read-only, over HTTP with ranges, and nothing but them.

Any page that the user has open may ask 127.0.0.1 for files. The address therefore holds a secret that such a page
cannot guess, requests must name this machine as their host, and links that lead out of a folder are refused.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.utils import send_file

from napari_connecto.core.errors import InputError

HOST = "127.0.0.1"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Expose-Headers": "Content-Range, Content-Length, Accept-Ranges",
    "Access-Control-Allow-Private-Network": "true",
}
"""Of every answer: the page of neuroglancer, which comes from elsewhere, may read it."""


class FolderServer:
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

    def __init__(self, folders: Sequence[Path], port: int = 0) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"no folder at '{folder}'; give one that is on this machine")
        self.folders = [folder.resolve() for folder in folders]
        self.secret = secrets.token_urlsafe(16)
        try:
            bound = socket.create_server((HOST, port))
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot listen on port {port} of {HOST} ({error}); choose another (--port)") from error
        with bound:  # werkzeug ends the process where it cannot bind a port itself
            app = Request.application(self._answer)
            self._server = make_server(HOST, 0, app, threaded=True, request_handler=_Quiet, fd=bound.fileno())
        self.server_address = self._server.server_address
        self.server_port = int(self.server_address[1])
        self._hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        run = self._server.serve_forever
        self._thread = threading.Thread(target=run, args=(0.05,), name="connecto serve", daemon=True)

    @property
    def root(self) -> str:
        """Address of all, without a slash at the end."""
        return f"http://{HOST}:{self.server_port}/{self.secret}"

    def url(self, number: int) -> str:
        """Address of a folder, with a slash at the end."""
        return f"{self.root}/{number}/"

    def find(self, target: str) -> Path | None:
        """The file that the path of a request names, if it lies in a folder that is served."""
        parts = target.split("/")
        if len(parts) < 4 or not secrets.compare_digest(parts[1].encode(), self.secret.encode()):
            return None
        if not parts[2].isdecimal() or int(parts[2]) >= len(self.folders) or "\0" in target:
            return None
        folder = self.folders[int(parts[2])]
        path = folder.joinpath(*(part or "." for part in parts[3:])).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None

    def _answer(self, request: Request) -> Response:
        try:
            response = self._file(request)
        except HTTPException as refused:
            response = refused.get_response(request.environ)
        response.headers.update(HEADERS)
        return response

    def _file(self, request: Request) -> Response:
        if request.method == "OPTIONS":  # a browser asks before it sends a range from another page
            return Response(status=HTTPStatus.NO_CONTENT)
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"])
        path = self.find(request.path) if request.host in self._hosts else None
        if path is None:
            raise NotFound
        kind = "application/json" if "json" in path.name or path.name == "info" else "application/octet-stream"
        try:
            return send_file(path, request.environ, kind)
        except OSError as error:  # it has just gone, or may not be read
            raise NotFound from error

    def __enter__(self) -> FolderServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """A browser asks for thousands of chunks: nothing is logged."""
