"""A server that speaks as much of W&B's protocol as a run needs, and misbehaves when told to.

It stands in for W&B, which can't run here: what wandb sends is real, what it hears back is not.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

SLOW_SECONDS = 30
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


class FakeWandb(ThreadingHTTPServer):
    """The server.

    Attributes:
        behaviour: ``well``, ``slow`` (answers after 30 s), ``dropped`` (no answer), or the status
            of every answer: ``401``, ``500``.
        operations: GraphQL operations that were asked for, with their variables.
        history: the lines of every run's history, by run id.
        files: what was uploaded, by name.
        answers: to operations that a run does not need, by their name.
    """

    daemon_threads = True

    def __init__(self, behaviour: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.begun = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [variables for name, variables in self.operations if name == operation]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are ended in mid-answer are what the tests are about."""

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        artifact = {"id": base64.b64encode(b"Artifact:1").decode(), "state": "COMMITTED"}
        sequence = {"artifactSequence": {"id": "1", "latestArtifact": None}}
        if operation == "RunResumeStatus":
            return {"model": self._resumed(given["name"])}
        if operation == "UpsertBucket":
            self.begun.set()
            return {"upsertBucket": {"bucket": _bucket(given["name"]), "inserted": True}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {**artifact, **sequence}}}
        if operation == "UseArtifact":
            return {"useArtifact": {"artifact": artifact}}
        if operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": f"{self.url}/upload/{quote(name)}"}
                for name in given["files"]
            ]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        return self.answers.get(operation, {})

    def take(self, path: str, body: bytes) -> None:
        """What comes by other ways than GraphQL."""
        if path.endswith("/file_stream"):
            files = json.loads(body).get("files") or {}
            lines = files.get("wandb-history.jsonl", {"content": []})["content"]
            run = path.split("/")[-2]
            self.history.setdefault(run, []).extend(json.loads(line) for line in lines)
        elif path.startswith("/upload/"):
            self.files[path.removeprefix("/upload/")] = body

    def _resumed(self, run: str) -> dict[str, Any] | None:
        lines = self.history.get(run)
        if lines is None:
            return None
        tail = json.dumps([json.dumps(lines[-1])])
        counts = {"historyLineCount": len(lines), "eventsLineCount": 0, "logLineCount": 0}
        texts = {"historyTail": tail, "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
        texts |= {"summaryMetrics": "{}", "config": "{}"}
        return {"id": "1", "name": "genpipe", "bucket": {**_bucket(run), **counts, **texts}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeWandb

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """``/become/<behaviour>``: behave so, once a run has begun."""
        if self.path.startswith("/become/"):
            self.server.begun.wait(60)
            self.server.behaviour = self.path.removeprefix("/become/")
        self._send(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        behaviour = self.server.behaviour
        if behaviour == "slow":
            time.sleep(SLOW_SECONDS)
        if behaviour == "dropped":
            self.close_connection = True
        elif behaviour.isdecimal():
            self._send(int(behaviour), {"errors": [{"message": "refused"}]})
        elif self.path == "/graphql":
            asked = json.loads(body)
            found = OPERATION.search(asked["query"])
            operation, given = found[1] if found else "", asked.get("variables") or {}
            self.server.operations.append((operation, given))
            self._send(200, {"data": self.server.answer(operation, given)})
        else:
            self.server.take(self.path, body)
            self._send(200, {})

    do_PUT = do_POST  # noqa: N815

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _bucket(run: str) -> dict[str, Any]:
    project = {"id": "1", "name": "genpipe", "entity": {"id": "1", "name": "team"}}
    return {"id": "1", "name": run, "displayName": run, "config": "{}", "project": project}


@contextmanager
def fake_wandb(behaviour: str = "well") -> Iterator[FakeWandb]:
    """A server that runs until the block ends."""
    server = FakeWandb(behaviour)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
