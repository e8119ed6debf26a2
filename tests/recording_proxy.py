"""A proxy that notes what it is asked for: who is called, behind one's back or not."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme


class RecordingProxy(ThreadingHTTPServer):
    """The proxy, which reaches nobody.

    Args:
        authority: of the certificates that it shows in the name of every host, as proxies do that
            look into TLS; every page is then empty. Without one all is refused.

    Attributes:
        asked: hosts that a connection or a page was asked of, in order.
        read: the first line of each request that it could look into.
    """

    daemon_threads = True

    def __init__(self, authority: trustme.CA | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authority = authority
        self.asked: list[str] = []
        self.read: list[str] = []

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

    do_GET = do_POST = do_PUT = do_HEAD = _refuse  # noqa: N815

    def do_CONNECT(self) -> None:
        if not self.server.authority:
            return self._refuse()
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        host = self.path.rpartition(":")[0]
        self.server.authority.issue_cert(host).configure_cert(context)
        self.close_connection = True
        with (
            contextlib.suppress(OSError),  # whoever does not trust it is gone
            context.wrap_socket(self.connection, server_side=True) as opened,
        ):
            self.server.read.append(opened.recv(65536).decode("latin1").partition("\r\n")[0])
            opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def recording_proxy(authority: trustme.CA | None = None) -> Iterator[RecordingProxy]:
    """A proxy that runs until the block ends."""
    with RecordingProxy(authority) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        proxy.shutdown()
