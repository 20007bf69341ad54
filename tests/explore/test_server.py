"""The explorer's server, asked by who means no good; its run only notes what it is asked."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pyro_mfcvae.explore import server as serving

uvicorn = pytest.importorskip("uvicorn")

TOKEN = "a-token"


class Noting:
    """In the place of a run: notes with what its methods are called."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda **given: self.calls.append(given)

    def content(self):
        return {"run": "noting"}


@pytest.fixture
def run() -> Noting:
    return Noting()


@pytest.fixture
def port(run) -> Iterator[int]:
    settings = uvicorn.Config(serving.make_app(run, TOKEN), port=0, log_config=None)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(30)


def _request(port: int, path: str, body: bytes, method: str = "POST", **headers: str) -> bytes:
    given = {"Host": f"127.0.0.1:{port}", "X-Token": TOKEN, "Content-Length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in given.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def _answer(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"\xff\xfe{",
        b"[" * 100_000,
        b'{"rows":' * 100_000,
        b'{"rows":[' + b"9" * 5000 + b"]}",
        b'{"rows":[NaN]}',
        b'{"rows":[1e400]}',
        b'{"rows":[0.5]}',
        b'{"rows":["\\ud800"]}',
        b'{"rows":{"0":0}}',
        b'{"\\ud800":[0]}',
    ],
    ids=lambda body: repr(body[:12]),
)
def test_no_question_of_the_wrong_kind_reaches_the_run(body, run, port):
    status, answer = _answer(port, _request(port, "/table", body))
    assert status == 400
    assert json.loads(answer)["error"]
    assert not run.calls


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example"}, 400),
        ({"Host": "127.0.0.1@evil.example"}, 400),
        ({"Host": "evil.example", "X_Forwarded_Host": "127.0.0.1"}, 400),
        ({"method": "OPTIONS", "Origin": "http://evil.example"}, 405),
        ({"method": "GET"}, 405),
        ({"X_Token": ""}, 403),
        ({"X_Token": TOKEN[:-1]}, 403),
    ],
)
def test_no_other_page_or_host_reaches_the_run(headers, status, run, port):
    question = b'{"first": 0, "second": 1}'
    assert _answer(port, _request(port, "/pairs", question, **headers))[0] == status
    assert not run.calls
    assert _answer(port, _request(port, "/pairs", question))[0] == 200
    assert run.calls == [{"first": 0, "second": 1}]


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/names.json", "//evil.example/"])
def test_no_file_is_served(path, port):
    assert _answer(port, _request(port, path, b"", "GET"))[0] == 404


def test_who_hangs_up_amid_a_question_is_forgotten(run, port, caplog):
    request = _request(port, "/table", b"{", Content_Length="100")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        time.sleep(0.2)
    assert _answer(port, _request(port, "/table", b'{"rows": [1]}'))[0] == 200
    assert run.calls == [{"rows": [1]}]
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


def test_ctrl_c_does_not_wait_for_who_never_ends_a_question(run):
    def interrupt(address: str) -> None:
        port = int(address.split(":")[2].partition("/")[0])
        token = address.partition("=")[2]
        request = _request(port, "/table", b"{", Content_Length="100", X_Token=token)
        connections.append(socket.create_connection(("127.0.0.1", port)))
        connections[0].sendall(request)
        time.sleep(0.2)
        if not has_ended:
            os.kill(os.getpid(), signal.SIGINT)

    def greet(address: str) -> None:
        threading.Thread(target=interrupt, args=[address]).start()

    connections, has_ended, began = [], [], time.monotonic()
    force = threading.Timer(20, os.kill, [os.getpid(), signal.SIGINT])  # if it waits all the same
    force.start()
    try:
        serving.serve(run, greet=greet)
    finally:
        has_ended.append(True)
        force.cancel()
    connections[0].close()
    assert time.monotonic() - began < 15
