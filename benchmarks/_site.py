"""A web server over a folder that knows range requests, counts them, and stumbles when told to."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType


class Site:
    """``url`` serves ``folder``; use it as a context manager.

    Attributes
    ----------
    delay_s
        What every answer waits for, as on a far network.
    stumbles
        How many more of the requests whose path ends so are answered with 503.
    mute
        Requests whose path ends so are never answered.
    requests, sent
        By path, and bytes of all.
    """

    def __init__(self, folder: Path, delay_s: float = 0.0) -> None:
        self.folder, self.delay_s = folder, delay_s
        self.stumbles: Counter[str] = Counter()
        self.mute = ""
        self.requests: Counter[str] = Counter()
        self.sent, self.ranges = 0, 0
        self.over = threading.Event()
        self.lock = threading.Lock()
        site = self

        class Handler(_Handler):
            of = site

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    of: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.of
        time.sleep(site.delay_s)
        if site.mute and self.path.endswith(site.mute):
            site.over.wait()
            return
        file = site.folder / self.path.lstrip("/")
        with site.lock:
            site.requests[self.path] += 1
            stumble = next((end for end, left in site.stumbles.items() if left and self.path.endswith(end)), None)
            if stumble is not None:
                site.stumbles[stumble] -= 1
        if stumble is not None or not file.is_file():
            self._answer(503 if stumble is not None else 404, b"")
            return
        content = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, content)
            return
        first, last = asked.groups()
        start = int(first) if first else len(content) - int(last)
        stop = int(last) + 1 if first and last else len(content)
        with site.lock:
            site.ranges += 1
        self._answer(206, content[start:stop], f"bytes {start}-{stop - 1}/{len(content)}")

    def do_HEAD(self) -> None:
        file = self.of.folder / self.path.lstrip("/")
        self.send_response(200 if file.is_file() else 404)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(file.stat().st_size if file.is_file() else 0))
        self.end_headers()

    def _answer(self, status: int, content: bytes, place: str = "") -> None:
        with self.of.lock:
            self.of.sent += len(content)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if place:
            self.send_header("Content-Range", place)
        self.end_headers()
        self.wfile.write(content)
