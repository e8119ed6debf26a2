"""A stand-in for the API server of Kubeflow Pipelines: a real HTTP server in the test's process.

A stand-in because no cluster can run where these tests do: the real server needs Kubernetes, Argo
and a database. Bodies are read and written through kfp_server_api's own models, so what the
client and this server say to each other has the names and types of the v2beta1 API; what the
server decides (a name that exists is a conflict, a deleted thing is not found, a list is paged and
filtered) is written after the server's documentation and source. What a run does is what real runs
were seen to do: ``recorded/`` holds answers of a KFP 2.17.0 with Argo 4.0.5, cut down to the fields
that are read here. Each file is the looks at one run, in order: its state, its cells, the manifest
of its workflow (API v1beta1) and, of some, the API's own states of its tasks.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import kfp
import kfp_server_api as models
import trustme

from pipelines.cluster.runs import submit
from pipelines.environments import Environment
from pipelines.parameters import Parameters

PREFIX = "/apis/v2beta1"
PARAMETERS = Parameters.checked({"families": ["vae"], "latent_sizes": [2, 10], "vae.beta": 4})
RECORDED = Path(__file__).parent / "recorded"
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}
ID = r"([^/:]+)"


class Refusal(Exception):  # noqa: N818
    """An answer other than success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Fault:
    """What is to happen in place of an answer, or, with ``after``, once the work is done."""

    path: re.Pattern[str]
    method: str | None
    status: int | None
    drop: bool
    slow: float
    after: bool
    times: int
    body: bytes | None
    headers: dict[str, str]


@dataclass
class FakeApi:
    """The server, while it is entered as a context manager; ``url`` is its address.

    Attributes:
        requests: all that came, in order.
        page_size: the most entries of a list's page.
        certificate: to speak TLS with.
        uploads: the files of pipeline versions, by version id.
        workflows: the manifests of runs' workflows, by run id.
        workflow_of_any: that of runs which have none of their own.
        logs: what pods printed, by their names, as the server of KFP's pages has it.
    """

    page_size: int = 100
    certificate: trustme.LeafCert | None = None
    requests: list[Request] = field(default_factory=list)
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    recurring_runs: dict[str, Any] = field(default_factory=dict)
    workflows: dict[str, Any] = field(default_factory=dict)
    workflow_of_any: Any = None
    logs: dict[str, str] = field(default_factory=dict)
    on_get_run: Callable[[Any], None] | None = None
    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, **changes: Any) -> Environment:
        """An environment whose API is this server; ``changes`` go over ``api``."""
        return self.environment_of(**{"host": self.url, **changes})

    @staticmethod
    def environment_of(host: str, **changes: Any) -> Environment:
        """An environment whose API is at an address."""
        return Environment.model_validate(
            {
                "name": "fake",
                "api": {"host": host, "namespace": "team", **changes},
                "pipeline_root": "gs://bucket/root",
                "service_account": "runner",
                "images": {"cpu": "genpipe-cpu:1"},
            }
        )

    def fail(
        self,
        path: str,
        *,
        status: int | None = None,
        drop: bool = False,
        slow: float = 0.0,
        times: int = 1,
        method: str | None = None,
        after: bool = False,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Inject a fault into the next ``times`` requests whose path matches.

        Args:
            path: regular expression, searched in the path.
            status: HTTP status to answer with.
            drop: close the connection without an answer.
            slow: seconds before the answer (cut short when the server ends).
            times: how many requests it befalls.
            method: only requests of this method.
            after: do the work first, so that only its answer is lost.
            body: in place of the API's JSON error.
            headers: of that answer.
        """
        self._faults.append(
            Fault(re.compile(path), method, status, drop, slow, after, times, body, headers or {})
        )

    def play(self, name: str, *numbers: int) -> None:
        """Let every look at a run show the next of some recorded looks, and then the last again."""
        looks = json.loads((RECORDED / f"{name}.json").read_text())
        left = [looks[number] for number in numbers] or looks

        def look(run: Any) -> None:
            shown = left.pop(0) if len(left) > 1 else left[0]
            run.state = shown["state"]
            run.runtime_config.parameters["cells"] = shown["cells"]
            self.workflows[run.run_id] = shown["workflow"]
            tasks = [
                _model(one, "V2beta1PipelineTaskDetail") for one in shown.get("task_details", ())
            ]
            run.run_details = models.V2beta1RunDetails(task_details=tasks)

        self.on_get_run = look

    def sent(self, method: str, path: str) -> list[Request]:
        """The requests of a method whose path matches a regular expression to its end."""
        return [
            request
            for request in self.requests
            if request.method == method and re.fullmatch(PREFIX + path, request.path)
        ]

    def fault(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if (
                    fault.times > 0
                    and fault.method in (None, request.method)
                    and fault.path.search(request.path)
                ):
                    fault.times -= 1
                    return fault
        return None

    def answer(self, request: Request) -> Any:
        """The model, or mapping, that answers a request; kept state changes under one lock."""
        path = request.path.removeprefix(PREFIX)
        with self._lock:
            for method, pattern, action in self._routes():
                match = re.fullmatch(pattern, path)
                if match and method == request.method:
                    return action(request, *match.groups())
        raise Refusal(404, f"no such method {request.method} {path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/healthz", lambda _: models.V2beta1GetHealthzResponse(multi_user=True)),
            ("POST", "/pipelines/upload_version", self._upload_version),
            ("POST", "/pipelines", self._create_pipeline),
            ("GET", "/pipelines", self._lister("pipelines", "V2beta1ListPipelinesResponse")),
            ("GET", f"/pipelines/{ID}/versions", self._list_versions),
            ("GET", f"/pipelines/{ID}/versions/{ID}", lambda _, p, v: _get(self.versions, v)),
            ("GET", f"/pipelines/{ID}", self._getter("pipelines")),
            ("POST", "/experiments", self._create_experiment),
            ("GET", "/experiments", self._lister("experiments", "V2beta1ListExperimentsResponse")),
            ("GET", f"/experiments/{ID}", self._getter("experiments")),
            ("POST", "/runs", self._create_run),
            ("GET", "/runs", self._lister("runs", "V2beta1ListRunsResponse")),
            ("GET", f"/runs/{ID}", self._get_run),
            ("POST", f"/runs/{ID}:terminate", self._setter("runs", "state", "CANCELING")),
            ("POST", f"/runs/{ID}:retry", self._setter("runs", "state", "RUNNING")),
            ("GET", f"/apis/v1beta1/runs/{ID}", self._get_workflow),
            ("GET", "/k8s/pod/logs", self._get_log),
            ("POST", "/recurringruns", self._create_recurring_run),
            (
                "GET",
                "/recurringruns",
                self._lister("recurring_runs", "V2beta1ListRecurringRunsResponse", "recurringRuns"),
            ),
            ("GET", f"/recurringruns/{ID}", self._getter("recurring_runs")),
            ("DELETE", f"/recurringruns/{ID}", self._delete_recurring_run),
        ]
        for action in ("enable", "disable"):
            set_mode = self._recurring_mode(action.upper())
            routes.append(("POST", f"/recurringruns/{ID}:{action}", set_mode))
        return routes

    def _getter(self, kind: str) -> Callable[..., Any]:
        return lambda _, key: _get(getattr(self, kind), key)

    def _setter(self, kind: str, attribute: str, value: str) -> Callable[..., Any]:
        def act(_: Request, key: str) -> dict[str, Any]:
            setattr(_get(getattr(self, kind), key), attribute, value)
            return {}

        return act

    def _recurring_mode(self, mode: str) -> Callable[..., Any]:
        def act(_: Request, key: str) -> dict[str, Any]:
            recurring = _get(self.recurring_runs, key)
            recurring.mode, recurring.status = mode, f"{mode}D"
            return {}

        return act

    def _lister(self, kind: str, response: str, key: str | None = None) -> Callable[..., Any]:
        return lambda request: self._page(
            request, list(getattr(self, kind).values()), response, key or kind
        )

    def _list_versions(self, request: Request, pipeline_id: str) -> Any:
        _get(self.pipelines, pipeline_id)
        mine = [one for one in self.versions.values() if one.pipeline_id == pipeline_id]
        return self._page(request, mine, "V2beta1ListPipelineVersionsResponse", "pipeline_versions")

    def _page(self, request: Request, entries: list[Any], response: str, key: str) -> Any:
        """One page of a list: filtered, sorted by creation, with a token for the next one."""
        query = request.query
        for name in ("namespace", "experiment_id"):
            if query.get(name):
                entries = [one for one in entries if getattr(one, name) == query[name]]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            name = predicate["key"]
            known = name in ("display_name", "recurring_run_id")
            if not known or predicate["operation"] not in ("EQUALS", 1):
                raise Refusal(400, f"filter {predicate} is not supported")
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            entries = [one for one in entries if getattr(one, name) == wanted]
        descending = query.get("sort_by", "").endswith("desc")
        entries = sorted(entries, key=lambda one: one.created_at, reverse=descending)
        start = int(query.get("page_token") or 0)
        end = start + min(int(query.get("page_size") or 10), self.page_size)
        page = getattr(models, response)(total_size=len(entries))
        attribute = next(
            name for name, json_key in page.attribute_map.items() if key in (name, json_key)
        )
        setattr(page, attribute, entries[start:end])
        page.next_page_token = str(end) if end < len(entries) else None
        return page

    def _created(self) -> datetime:
        """A time later than that of all that was created before."""
        self._clock = getattr(self, "_clock", datetime(2026, 1, 1, tzinfo=UTC)) + timedelta(
            seconds=1
        )
        return self._clock

    def _create_pipeline(self, request: Request) -> Any:
        pipeline = _model(request.json, "V2beta1Pipeline")
        _refuse_twice(self.pipelines, display_name=pipeline.display_name)
        pipeline.pipeline_id, pipeline.created_at = str(uuid.uuid4()), self._created()
        self.pipelines[pipeline.pipeline_id] = pipeline
        return pipeline

    def _upload_version(self, request: Request) -> Any:
        pipeline_id, name = request.query["pipelineid"], request.query["name"]
        _get(self.pipelines, pipeline_id)
        _refuse_twice(self.versions, pipeline_id=pipeline_id, display_name=name)
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = list(message_from_bytes(head + request.body, policy=HTTP).iter_parts())
        file = next(
            part
            for part in parts
            if part.get_param("name", header="content-disposition") == "uploadfile"
        )
        version = models.V2beta1PipelineVersion(
            pipeline_id=pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            display_name=name,
            name=name,
            description=request.query.get("description"),
            created_at=self._created(),
        )
        self.versions[version.pipeline_version_id] = version
        self.uploads[version.pipeline_version_id] = file.get_payload(decode=True)
        return version

    def _create_experiment(self, request: Request) -> Any:
        experiment = _model(request.json, "V2beta1Experiment")
        _refuse_twice(
            self.experiments,
            display_name=experiment.display_name,
            namespace=experiment.namespace,
        )
        experiment.experiment_id, experiment.created_at = str(uuid.uuid4()), self._created()
        self.experiments[experiment.experiment_id] = experiment
        return experiment

    def _create_run(self, request: Request) -> Any:
        run = _model(request.json, "V2beta1Run")
        _get(self.experiments, run.experiment_id)
        self._check_version(run.pipeline_version_reference)
        run.run_id, run.created_at, run.state = str(uuid.uuid4()), self._created(), "PENDING"
        self.runs[run.run_id] = run
        return run

    def _check_version(self, reference: Any) -> None:
        """A version may be left out: the newest of the pipeline is meant then."""
        if reference.pipeline_version_id:
            _get(self.versions, reference.pipeline_version_id)
        else:
            _get(self.pipelines, reference.pipeline_id)

    def _get_run(self, _: Request, run_id: str) -> Any:
        run = _get(self.runs, run_id)
        if self.on_get_run:
            self.on_get_run(run)
        return run

    def _get_workflow(self, _: Request, run_id: str) -> Any:
        """Version v1beta1 of a run: before Argo's first report, one without a manifest."""
        _get(self.runs, run_id)
        workflow = self.workflows.get(run_id, self.workflow_of_any)
        if workflow is None:
            return {"run": {"id": run_id}}
        manifest = json.dumps(workflow)
        return {"run": {"id": run_id}, "pipeline_runtime": {"workflow_manifest": manifest}}

    def _get_log(self, request: Request) -> str:
        if request.query["podname"] not in self.logs:
            raise Refusal(500, "Could not get main container logs: Error: Unable to retrieve")
        return self.logs[request.query["podname"]]

    def _create_recurring_run(self, request: Request) -> Any:
        recurring = _model(request.json, "V2beta1RecurringRun")
        if not re.fullmatch(r"10|[1-9]", str(recurring.max_concurrency or "")):
            raise Refusal(400, "max_concurrency must be between 1 and 10")
        cron = recurring.trigger and recurring.trigger.cron_schedule
        if cron and len(cron.cron.split()) != 6:
            raise Refusal(400, f"Schedule cron is not supported: {cron.cron}")
        _get(self.experiments, recurring.experiment_id)
        if recurring.pipeline_version_reference:
            self._check_version(recurring.pipeline_version_reference)
        recurring.recurring_run_id, recurring.created_at = str(uuid.uuid4()), self._created()
        recurring.namespace = self.experiments[recurring.experiment_id].namespace
        recurring.status = f"{recurring.mode or 'DISABLE'}D"
        self.recurring_runs[recurring.recurring_run_id] = recurring
        return recurring

    def _delete_recurring_run(self, _: Request, key: str) -> dict[str, Any]:
        _get(self.recurring_runs, key)
        del self.recurring_runs[key]
        return {}


def started(api: FakeApi, client: kfp.Client, name: str = "first") -> Any:
    """A run of ``PARAMETERS`` there."""
    return submit(client, api.environment(), PARAMETERS, name)


def _get(things: dict[str, Any], key: str) -> Any:
    if key not in things:
        raise Refusal(404, f"ResourceNotFoundError: {key} not found.")
    return things[key]


def _refuse_twice(things: dict[str, Any], **same: str) -> None:
    for thing in things.values():
        if all(getattr(thing, name) == value for name, value in same.items()):
            raise Refusal(409, f"Already exist error: {same}. Please use a different name.")


def _model(content: Any, kind: str) -> Any:
    """A model of what was sent, as the client's own deserializer reads it."""
    response = SimpleNamespace(data=json.dumps(content))
    return models.ApiClient().deserialize(response, kind)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing on a client that has gone, which tests do on purpose."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing on stderr."""

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, address.path, query, headers, self.rfile.read(length))
            api.requests.append(request)
            fault = api.fault(request)
            status, body, extra = 200, b"", {}
            if fault is None or fault.after or fault.slow:
                status, body = _answer(api, request)
            if fault:
                if fault.slow:
                    api.released.wait(fault.slow)
                if fault.drop:
                    self.close_connection = True
                    return
                if fault.status:
                    status = fault.status
                    body, extra = fault.body, fault.headers
                    if body is None:
                        body = _error(status, "injected by the test")
            self._send(status, body, extra)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client has given up waiting

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    return Handler


def _answer(api: FakeApi, request: Request) -> tuple[int, bytes]:
    try:
        answer = api.answer(request)
    except Refusal as refusal:
        return refusal.status, _error(refusal.status, str(refusal))
    if isinstance(answer, str):
        return 200, answer.encode()
    return 200, json.dumps(models.ApiClient().sanitize_for_serialization(answer)).encode()


def _error(status: int, message: str) -> bytes:
    """An error as the server's gRPC gateway writes it."""
    content = {"error": message, "code": CODES.get(status, 2), "message": message, "details": []}
    return json.dumps(content).encode()
