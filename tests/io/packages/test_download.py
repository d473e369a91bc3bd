"""Addresses of packages: whatever a server answers, the package or one clear line, and nothing half in the cache."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from napari_connecto.core.errors import ModelError
from napari_connecto.core.settings import settings
from napari_connecto.io.packages.download import fetched

ANSWERS = {"/package": (200, 4), "/cut": (200, 1000), "/gone": (404, 0), "/broken": (500, 0)}


class Server(BaseHTTPRequestHandler):
    """Sends four bytes that begin like a zip, and tells how many follow."""

    def do_GET(self):
        status, length = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(b"PK\x03\x04" if length else b"")

    def log_message(self, *args):
        """Silent."""


@pytest.fixture(scope="module")
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_package_is_fetched_whole(address):
    assert fetched(f"{address}/package").read_bytes() == b"PK\x03\x04"


@pytest.mark.parametrize("name", ["cut", "gone", "broken"])
def test_an_answer_that_is_no_package_is_one_line(address, name):
    with pytest.raises(ModelError, match="download the package and give its path"):
        fetched(f"{address}/{name}")
    kept = {path.name for path in (settings().cache / "packages").glob("*")}
    assert len(kept) <= 1  # the whole one
