"""A server that speaks as much of W&B's protocol as a run needs, and misbehaves when told to.

It stands in for W&B, which can't run here: what wandb sends is real, what it hears back is not.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import trustme

SLOW_SECONDS = 30
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


class FakeWandb(ThreadingHTTPServer):
    """The server.

    Attributes:
        behaviour: ``well``, ``slow`` (answers after 30 s), ``dropped`` (no answer), or the status
            of every answer: ``401``, ``500``.
        operations: GraphQL operations that were asked for, with their variables.
        history: the lines of every run's history, by run id.
        ended: exit status of each run that has ended, by run id.
        files: what was uploaded, by name; of an artifact, ``<artifact>/<name>``.
        artifacts: those that were committed whole, by their digests: name and the files in it.
        answers: to operations that a run does not need, by their name.
        refused: operations that are answered by a status of the server's, by their names; of all
            files ``upload``.
    """

    daemon_threads = True
    scheme = "http"

    def __init__(self, behaviour: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.ended: dict[str, int] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, tuple[str, set[str]]] = {}
        self._begun: dict[str, tuple[str, str, set[str]]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, int] = {}
        self._opened: set[tuple[str, str]] = set()
        self.begun = threading.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [variables for name, variables in self.operations if name == operation]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are ended in mid-answer are what the tests are about."""

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        if operation == "RunResumeStatus":
            known = (given["project"], given["name"]) in self._opened
            return {"model": self._resumed(given["name"]) if known else None}
        if operation == "UpsertBucket":
            self._opened.add((given["project"], given["name"]))
            self.begun.set()
            return {"upsertBucket": {"bucket": _bucket(given["name"]), "inserted": True}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": self._create(given["input"])}}
        if operation == "CreateArtifactManifest":
            upload = self._upload(f"{given['artifactID']}/wandb_manifest.json")
            return {"createArtifactManifest": {"artifactManifest": {"id": "1", "file": upload}}}
        if operation == "CreateArtifactFiles":
            return {"createArtifactFiles": {"files": {"edges": self._edges(given["input"])}}}
        if operation == "CommitArtifact":
            self._commit(given["artifactID"])
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "1"}}}
        if operation == "UseArtifact":
            return {"useArtifact": {"artifact": {"id": given["input"]["artifactID"]}}}
        if operation == "Viewer":
            return {"viewer": {"id": "1", "entity": "team", "username": "me", "flags": "{}"}}
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": "1", "entity": "team"}}
        if operation == "Run":
            return {"project": self._run(given["name"])}
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
            said = json.loads(body)
            files = said.get("files") or {}
            lines = files.get("wandb-history.jsonl", {"content": []})["content"]
            run = path.split("/")[-2]
            self.history.setdefault(run, []).extend(json.loads(line) for line in lines)
            if said.get("complete"):
                self.ended[run] = said["exitcode"]
        elif path.startswith("/upload/"):
            self.files[unquote(path.removeprefix("/upload/"))] = body

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A new artifact, unless one with the same content is whole."""
        identity = base64.b64encode(f"Artifact:{asked['digest']}".encode()).decode()
        state = "COMMITTED" if asked["digest"] in self.artifacts else "PENDING"
        if state == "PENDING":
            name = asked["artifactCollectionName"]
            self._begun.setdefault(identity, (asked["digest"], name, set()))
        return {"id": identity, "state": state, "artifactSequence": {"latestArtifact": None}}

    def _edges(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        edges = []
        for file in asked["artifactFiles"]:
            _, name, files = self._begun[file["artifactID"]]
            files.add(f"{name}/{file['name']}")
            node = {**self._upload(f"{name}/{file['name']}"), "storagePath": None}
            node |= {"uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}
            edges.append({"node": node})
        return edges

    def _commit(self, identity: str) -> None:
        digest, name, files = self._begun[identity]  # by any of the runs that began it
        if files <= set(self.files):
            self.artifacts[digest] = name, files

    def _upload(self, name: str) -> dict[str, Any]:
        return {"id": "1", "uploadUrl": f"{self.url}/upload/{quote(name)}", "uploadHeaders": []}

    def _run(self, run: str) -> dict[str, Any] | None:
        lines = self.history.get(run)
        if lines is None:
            return None
        state = {None: "running", 0: "finished"}.get(self.ended.get(run), "failed")
        texts = {"systemMetrics": "{}", "summaryMetrics": "{}", "historyKeys": "{}", "tags": []}
        found = {**_bucket(run), **texts, "historyLineCount": len(lines), "state": state}
        return {"internalId": "1", "run": {**found, "projectId": "1", "user": {"username": "me"}}}

    def _resumed(self, run: str) -> dict[str, Any] | None:
        lines = self.history.get(run)
        if lines is None:
            return None
        tail = json.dumps([json.dumps(line) for line in lines[-1:]])
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
            self._refuse(int(behaviour))
        elif self.path == "/graphql":
            asked = json.loads(body)
            found = OPERATION.search(asked["query"])
            operation, given = found[1] if found else "", asked.get("variables") or {}
            self.server.operations.append((operation, given))
            if operation in self.server.refused:
                self._refuse(self.server.refused[operation])
                return
            self._send(200, {"data": self.server.answer(operation, given)})
        elif self.path.startswith("/upload/") and "upload" in self.server.refused:
            self._refuse(self.server.refused["upload"])
        else:
            self.server.take(self.path, body)
            self._send(200, {})

    do_PUT = do_POST  # noqa: N815

    def _refuse(self, status: int) -> None:
        self._send(status, {"errors": [{"message": "refused"}]})

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
def fake_wandb(
    behaviour: str = "well", certificate: trustme.LeafCert | None = None
) -> Iterator[FakeWandb]:
    """A server that runs until the block ends; with a certificate it speaks TLS."""
    server = FakeWandb(behaviour)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
