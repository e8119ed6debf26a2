"""A proxy that opens nothing and notes what it is asked for: who is called behind one's back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RecordingProxy(ThreadingHTTPServer):
    """The proxy.

    Attributes:
        asked: hosts that a connection or a page was asked of, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    @property
    def variables(self) -> dict[str, str]:
        """What sends a process and its children through it, for every library that can be sent."""
        url = f"http://127.0.0.1:{self.server_port}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {
            **{spelt: url for name in names for spelt in (name, name.lower())},
            "NO_PROXY": "",
            "no_proxy": "",
        }


class _Handler(BaseHTTPRequestHandler):
    server: RecordingProxy

    def _refuse(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(502)
        self.end_headers()

    do_CONNECT = do_GET = do_POST = do_PUT = do_HEAD = _refuse  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def recording_proxy() -> Iterator[RecordingProxy]:
    """A proxy that runs until the block ends."""
    with RecordingProxy() as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()
