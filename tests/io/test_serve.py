"""The little server: what it gives, in what parts, and all that it must not give."""

from __future__ import annotations

import http.client
import os
import socket

import pytest

from napari_connecto.core.errors import InputError
from napari_connecto.io.serve import HOST, FolderServer


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "image.zarr"
    (folder / "0" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_text('{"zarr_format": 3}')
    (folder / "0" / "c" / "1").write_bytes(bytes(range(100)))
    (tmp_path / "secret.txt").write_text("not yours")
    (tmp_path / "image.zarr.key").write_text("not yours")
    os.symlink(tmp_path / "secret.txt", folder / "link")
    with FolderServer([folder]) as server:
        yield server


def ask(server, path, method="GET", **headers):
    """Status, headers and body; the path as it is, without any tidying up."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_files_whole_and_in_parts(served):
    at = f"/{served.secret}/0/0/c/1"
    status, headers, body = ask(served, at)
    assert (status, body, headers["Content-Length"]) == (200, bytes(range(100)), "100")
    assert headers["Access-Control-Allow-Origin"] == "*"
    for wanted, start, stop in (("bytes=10-19", 10, 20), ("bytes=90-", 90, 100), ("bytes=-8", 92, 100)):
        status, headers, body = ask(served, at, Range=wanted)
        assert (status, body) == (206, bytes(range(start, stop)))
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/100"
    for wanted in ("bytes=100-", "bytes=5-4", "bytes=-", "lines=1-2"):
        assert ask(served, at, Range=wanted)[0] == 416
    status, headers, body = ask(served, at, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "100", b"")
    assert ask(served, f"/{served.secret}/0/zarr.json")[1]["Content-Type"] == "application/json"


def test_a_file_that_the_browser_has_is_not_sent_again(served):
    at = f"/{served.secret}/0/0/c/1"
    tag = ask(served, at)[1]["ETag"]
    assert ask(served, at, **{"If-None-Match": tag})[::2] == (304, b"")
    (served.folders[0] / "0" / "c" / "1").write_bytes(b"another")
    assert ask(served, at, **{"If-None-Match": tag})[::2] == (200, b"another")


def test_a_page_from_elsewhere_may_ask_for_ranges(served):
    status, headers, _ = ask(served, "/x", "OPTIONS", Origin="https://neuroglancer-demo.appspot.com")
    assert status == 204
    assert headers["Access-Control-Allow-Headers"] == "Range"
    assert headers["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize(
    "path",
    [
        "/{s}/0/../secret.txt",
        "/{s}/0/%2e%2e/secret.txt",
        "/{s}/0/..%2fsecret.txt",
        "/{s}/0/..%2fimage.zarr.key",
        "/{s}/0//etc/passwd",
        "/{s}/0/link",
        "/{s}/0/0",
        "/{s}/0/",
        "/{s}/1/zarr.json",
        "/{s}/-1/zarr.json",
        "/{s}/²/zarr.json",
        "/{s}/0/%00",
        "/{s}",
        "/",
        "/wrong/0/zarr.json",
        "/%C3%A9/0/zarr.json",
    ],
)
def test_nothing_else_is_given(served, path):
    path = path.format(s=served.secret).encode().decode("latin-1")
    assert ask(served, path.replace("Â²", "%C2%B2"))[0] == 404


def test_another_host_name_is_refused(served):
    """A page whose name was made to point at this machine would send its own name."""
    at = f"/{served.secret}/0/zarr.json"
    assert ask(served, at, Host=f"localhost:{served.server_port}")[0] == 200
    assert ask(served, at, Host="evil.example")[0] == 404


def test_nothing_is_written(served):
    for method in ("PUT", "POST", "DELETE"):
        assert ask(served, f"/{served.secret}/0/zarr.json", method)[0] == 405


def test_only_this_machine_is_served_and_the_port_is_free_afterwards(tmp_path):
    with FolderServer([tmp_path]) as server:
        assert server.server_address[0] == "127.0.0.1"
        port = server.server_port
        with pytest.raises(InputError, match=f"cannot listen on port {port}"):
            FolderServer([tmp_path], port)
    with socket.socket() as free, pytest.raises(ConnectionRefusedError):
        free.connect((HOST, port))
    with pytest.raises(InputError, match="no folder at"):
        FolderServer([tmp_path / "absent"])
