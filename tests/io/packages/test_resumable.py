"""Downloads: cancelled at once however slow the server is, and continued where they broke off."""

from __future__ import annotations

import hashlib
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from napari_connecto.core.jobs import run
from napari_connecto.io.packages.resumable import PIECE, UNFINISHED, download_job

CONTENT = bytes(range(256)) * (PIECE // 128)


CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Slow(BaseHTTPRequestHandler):
    """Sends a few bytes at a time; of a part that is asked for, all at once."""

    tag = '"first"'

    def do_GET(self):
        asked = self.headers.get("Range") if self.headers.get("If-Range") in (None, self.tag) else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if self.tag:
            self.send_header("ETag", self.tag)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        try:
            while not asked:
                self.wfile.write(CONTENT[start : start + 64])
                start += 64
                time.sleep(0.02)
            self.wfile.write(CONTENT[start:])
        except ConnectionError:
            pass  # cancelled

    def log_message(self, *args):
        """Silent."""


@pytest.fixture
def address():
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/weights.pt"
        server.shutdown()


@pytest.mark.parametrize("sha256", ["", CHECKSUM])
def test_a_slow_download_reports_long_before_a_piece_is_there_and_is_continued_after_a_cancel(
    address, tmp_path, sha256
):
    path = tmp_path / "weights.pt"
    job = download_job(address, path, size=len(CONTENT), sha256=sha256)
    assert 0 < next(job).done < PIECE // 100
    job.close()
    assert not path.exists()
    part = path.with_name(path.name + UNFINISHED)
    there = part.read_bytes()
    assert there == CONTENT[: len(there)] != b""
    assert run(download_job(address, path, size=len(CONTENT), sha256=sha256)).read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("tag", "later"), [('"first"', '"second"'), ("", ""), ('W/"weak"', 'W/"weak"')])
def test_without_a_checksum_a_download_starts_again_unless_the_server_says_that_it_is_the_same(
    address, tmp_path, monkeypatch, tag, later
):
    """Else the halves of two versions of a file would be taken for one."""
    path = tmp_path / "weights.pt"
    monkeypatch.setattr(Slow, "tag", tag)
    job = download_job(address, path, size=len(CONTENT))
    next(job)
    job.close()
    part = path.with_name(path.name + UNFINISHED)
    part.write_bytes(b"old" * 1000)
    monkeypatch.setattr(Slow, "tag", later)
    again = download_job(address, path, size=len(CONTENT))
    next(again)
    again.close()
    there = part.read_bytes()
    assert there == CONTENT[: len(there)]
