"""An HTTP proxy before a real storage server that does to chosen requests what networks do."""

from __future__ import annotations

import http.client
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    ``status`` is answered in place of the server, which never hears of the request; ``drop``
    resets the connection after ``amount`` bytes of the request's body. All others pass the request
    on. ``lose`` resets the connection in place of the answer. ``reset`` and ``truncate`` end the
    connection, with a reset or as if all were well, after ``amount`` bytes of the answer's body;
    ``stall`` sends that many and then nothing for ``seconds``. ``flip`` inverts the bits of one
    byte of the answer's body, ``flip_request`` of the request's.
    """

    kind: Literal[
        "status", "drop", "lose", "reset", "truncate", "stall", "flip", "flip_request", "pass"
    ]
    amount: int = 0
    seconds: float = 0.0


@dataclass
class Seen:
    """A request that came: its method, path with query, range, and the fault it met."""

    method: str
    path: str
    range: str
    fault: str


@dataclass
class Script:
    """Faults for the requests of a method to a path, one a request, in this order."""

    method: str
    path: str
    faults: list[Fault]

    def take(self, method: str, path: str) -> Fault | None:
        """The next fault, if the request is one of those meant."""
        if self.faults and method == self.method and re.search(self.path, path):
            return self.faults.pop(0)
        return None


@dataclass
class FaultyProxy:
    """The proxy; without a script it only passes on.

    Attributes:
        server: the address of the real server.
        url: the proxy's own.
        seen: the requests that came.
    """

    server: str
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    _scripts: list[Script] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def script(self, method: str, path: str, *faults: Fault) -> None:
        """Let the next requests of this method, whose path matches, meet these faults."""
        self._scripts.append(Script(method, path, list(faults)))

    def all_met(self) -> bool:
        """Whether every fault has happened."""
        return not any(script.faults for script in self._scripts)

    def count(self, method: str, path: str) -> int:
        """How many requests of a method came to a path that matches."""
        return sum(seen.method == method and bool(re.search(path, seen.path)) for seen in self.seen)

    def take(self, method: str, path: str, range_: str) -> Fault:
        """Note a request, and tell what is to happen to it."""
        with self._lock:
            taken = (script.take(method, path) for script in self._scripts)
            fault = next((found for found in taken if found), Fault("pass"))
            self.seen.append(Seen(method, path, range_, fault.kind))
            return fault

    @contextmanager
    def serving(self) -> Iterator[FaultyProxy]:
        """Listen at ``url`` until the block ends."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        with _Listener(("127.0.0.1", 0), handler) as listener:
            self.url = f"http://127.0.0.1:{listener.server_address[1]}"
            thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            yield self
            listener.shutdown()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # an answer may be stalled

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections are cut on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def pass_on(self) -> None:
        fault = self.proxy.take(
            self.command,
            self.path,
            self.headers.get("Range") or self.headers.get("Content-Range") or "",
        )
        size = int(self.headers.get("Content-Length") or 0)
        if fault.kind == "drop":
            self.rfile.read(min(fault.amount, size))
            self.reset()
            return
        body = self.rfile.read(size)
        if fault.kind == "status":
            self.answer(fault.amount, {"Content-Type": "text/plain"}, b"no\n")
            return
        if fault.kind == "flip_request":
            body = _flipped(body, fault.amount)
        status, headers, answered = self.ask(body)
        if fault.kind == "lose":
            self.reset()
        elif fault.kind == "flip":
            self.answer(status, headers, _flipped(answered, fault.amount))
        elif fault.kind in ("reset", "truncate", "stall"):
            self.answer(status, headers, answered, fault.amount)
            time.sleep(fault.seconds)
            if fault.kind == "reset":
                self.reset()
            self.close_connection = True
        else:
            self.answer(status, headers, answered)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = pass_on  # noqa: N815

    def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the server answers, with its own address in it replaced by the proxy's."""
        server = urlsplit(self.proxy.server).netloc
        connection = http.client.HTTPConnection(server, timeout=30)
        headers = {**self.headers, "Host": server, "Connection": "close"}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        left_out = ("content-length", "connection", "transfer-encoding")
        given = {
            name: value.replace(self.proxy.server, self.proxy.url)
            for name, value in response.getheaders()
            if name.lower() not in left_out
        }
        if "json" in response.getheader("Content-Type", ""):
            content = content.replace(self.proxy.server.encode(), self.proxy.url.encode())
        return response.status, given, content

    def answer(
        self, status: int, headers: dict[str, str], body: bytes, size: int | None = None
    ) -> None:
        """Send an answer, or the first bytes of its body."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:size])
        self.wfile.flush()

    def reset(self) -> None:
        """End the connection by a reset."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        # The file objects hold the socket open.
        self.rfile.close()
        self.wfile.close()
        self.connection.close()


def _flipped(body: bytes, at: int) -> bytes:
    at %= len(body)
    return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
