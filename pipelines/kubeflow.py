"""Submit the pipeline to a Kubeflow Pipelines cluster, and follow, stop or retry its runs.

The API is reached through kfp's client, whose every request is bounded in time and tried again
where that can't do a thing twice; what goes wrong is told in one line that says what to do.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import kfp
import kfp_server_api
import urllib3
from kfp.client import ServiceAccountTokenVolumeCredentials
from kfp_server_api.rest import RESTClientObject

from components.errors import InputError, StepError
from pipelines.environments import FOLDERS, Api, Environment
from pipelines.latent_fanout import NAME, compile_to
from pipelines.parameters import Parameters

TOKEN_VARIABLE = "GENPIPE_TOKEN"
COOKIES_VARIABLE = "GENPIPE_COOKIES"

CONNECT_SECONDS = 10
READ_SECONDS = 30
TRIES = 4
BACKOFF_SECONDS = 0.5  # the second try comes at once, those after it wait 1 and 2 seconds
LONGEST_WAIT_SECONDS = 30
POLL_SECONDS = 5.0
OUTAGE_SECONDS = 300.0  # a port-forward restarted, a control plane upgraded

PAGE_SIZE = 100
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
STEP_NAME = re.compile(rf"({'|'.join(step.replace('_', '-') for step in FOLDERS)})(-\d+)?")
ITERATION = re.compile(r"\((\d+)[:)]")  # Argo numbers a loop's iterations: iterations(0:0)


class ApiError(StepError):
    """The API could not be asked, or refused.

    Attributes:
        status: HTTP status of the answer; None where none came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status is None or self.status == 429 or self.status >= 500

    @property
    def undecided(self) -> bool:
        """Whether what was to be made may exist: made before, or by the request that failed."""
        return self.status in (None, 409) or (self.status or 0) >= 500


class TimedOutError(StepError):
    """The time to wait for a run was over before the run was."""


def connect(environment: Environment) -> kfp.Client:
    """Connect to an environment's API, and make sure that it answers.

    Returns:
        kfp's client. Each of its requests has a time limit and raises ``ApiError``; those that
        read are tried again after 429, 5xx and dropped connections, all others after 429 alone.

    Raises:
        InputError: the environment is this machine, or what its login needs is not there.
        ApiError: there is no answer, or the login is refused.
    """
    api = environment.api
    if api is None:
        raise InputError(
            f"environment {environment.name} has no api: it is this machine, for `genpipe run`; "
            "name a cluster's, such as --environment cluster-cpu"
        )
    if api.ca_file and not Path(api.ca_file).is_file():
        raise InputError(f"api.ca_file {api.ca_file}: there is no such file")
    # It would tell of each try; what matters is told once, when all of them have failed.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that the server must be newer than 2.0
        try:
            client = _Client(api)
        except (ApiError, InputError):
            raise
        except Exception as error:  # google.auth, the token files of kfp, requests
            raise StepError(
                f"no login for {api.host} ({api.authentication}): {_one_line(error)}"
            ) from error
    try:
        client.healthzs.healthz_service_get_healthz()
    except ApiError as error:
        if error.status != 404:
            raise
        raise ApiError(
            f"{api.host} answers, but not as a Kubeflow Pipelines API (404): api.host is the "
            "address before /apis/v2beta1, on a full Kubeflow it ends in /pipeline",
            404,
        ) from None
    return client


class _Client(kfp.Client):
    """kfp's client as the environment alone says.

    kfp's own would also read a namespace, a cookie and a header that ~/.config/kfp keeps from
    another cluster, take an OAuth client from the process environment, and, without a namespace,
    ask for the server's health for half a minute with a traceback for each try.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        super().__init__(
            host=api.host,
            namespace=api.namespace,
            client_id=api.client_id,
            ssl_ca_cert=api.ca_file,
            **_credentials(api),
        )
        api_client = self._run_api.api_client  # one for all services
        api_client.rest_client = _Rest(api, api_client.configuration)

    def _load_context_setting_or_default(self) -> None:
        self._context_setting = {"namespace": self._api.namespace}

    def _load_config(self, host: str, client_id: str | None, *settings: Any) -> Any:
        config = super()._load_config(
            host, client_id if self._api.authentication == "iap" else None, *settings
        )
        config.retries = _Retry(
            total=TRIES - 1,
            connect=0,  # nobody listening is told at once: a port-forward is not running
            redirect=False,  # to a login page, or to an address that api.host had better be
            allowed_methods=["GET"],
            status_forcelist=[500, 502, 503, 504],
            backoff_factor=BACKOFF_SECONDS,
            backoff_max=LONGEST_WAIT_SECONDS,
            retry_after_max=LONGEST_WAIT_SECONDS,
            raise_on_status=False,
        )
        return config


class _Retry(urllib3.Retry):
    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        # A request that came too early was not looked at, so any method may be sent again.
        return status_code == 429 or super().is_retry(method, status_code, has_retry_after)


class _Rest(RESTClientObject):
    """The transport below kfp's client: a time limit for each request, one line for each error."""

    def __init__(self, api: Api, configuration: kfp_server_api.Configuration) -> None:
        super().__init__(configuration)
        self._api = api

    def request(self, method: str, url: str, **options: Any) -> Any:
        options["_request_timeout"] = options.get("_request_timeout") or (
            CONNECT_SECONDS,
            READ_SECONDS,
        )
        try:
            response = super().request(method, url, **options)
        except kfp_server_api.ApiException as error:
            if error.status:
                raise _refusal(self._api, error) from None
            raise ApiError(_no_tls(self._api, error.reason)) from None
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise ApiError(_no_answer(self._api, error)) from None
        try:
            json.loads(response.data)
        except ValueError:  # kfp's client would make an empty object of it
            raise ApiError(
                f"{self._api.host} answered with a web page or other text, and not as an API: "
                f"{_login(self._api)}",
                401,
            ) from None
        return response


def _credentials(api: Api) -> dict[str, Any]:
    """What kfp's client is to log in with.

    Raises:
        InputError: it is to come from an environment variable that is not set.
        StepError: this is no pod with a token of its service account.
    """
    if api.authentication == "token":
        return {"existing_token": _secret(api, TOKEN_VARIABLE)}
    if api.authentication == "cookies":
        return {"cookies": _secret(api, COOKIES_VARIABLE)}
    if api.authentication == "service-account":
        credentials = ServiceAccountTokenVolumeCredentials()
        if not os.access(credentials._token_path, os.R_OK):
            raise InputError(
                f"no service account token at {credentials._token_path}: authentication "
                "service-account is for a pod with a projected token for pipelines.kubeflow.org"
            )
        return {"credentials": credentials}
    return {}


def _secret(api: Api, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise InputError(
            f"authentication {api.authentication} of {api.host} needs {variable}: it is not set"
        )
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"{variable} holds characters that no HTTP header can: copy it again")
    return value


def _login(api: Api) -> str:
    """What to do about a login that is not accepted."""
    return {
        "none": "it wants a login: set api.authentication in the environment",
        "token": f"put a fresh token into {TOKEN_VARIABLE}",
        "cookies": f"log in with a browser and put its fresh cookies into {COOKIES_VARIABLE}",
        "service-account": "is the pod's token meant for it (audience pipelines.kubeflow.org)?",
        "iap": "log in anew (gcloud auth application-default login), and see that client_id is "
        "the proxy's",
    }[api.authentication]


def _refusal(api: Api, error: kfp_server_api.ApiException) -> ApiError:
    """An answer other than success, in one line."""
    status, said = error.status, _message(error)
    where = f"{api.host} said {status}{f' ({said})' if said else ''}"
    if 300 <= status < 400:
        target = error.headers.get("location", "elsewhere").partition("?")[0]
        what = f"it redirects to {target}: {_login(api)}, or make that address api.host"
    elif status == 401:
        what = f"the login is missing, wrong or expired: {_login(api)}"
    elif status == 403:
        what = (
            f"this login may not do that in namespace {api.namespace}: ask for a role there, or, "
            f"if it could before, {_login(api)}"
        )
    elif status == 404:
        what = "there is no such thing: `genpipe runs` lists the runs"
    elif status == 409:
        what = "it exists already"
    elif status == 429:
        what = f"too many requests, {TRIES} times in a row: try again in a minute"
    elif status >= 500:
        what = (
            "the server failed: try again, and look at "
            f"`kubectl logs --namespace {api.namespace} deployment/ml-pipeline`"
        )
    else:
        what = "it does not accept the request: is the server Kubeflow Pipelines 2.17 or newer?"
    return ApiError(f"{where}: {what}", status)


def _message(error: kfp_server_api.ApiException) -> str:
    """What the server said, without the JSON around it and the stack of wrapped errors below."""
    text = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else ""
    try:
        answer = json.loads(text)
        text = str(answer.get("message") or answer.get("error") or "")
    except (ValueError, AttributeError):
        if "<" in text:  # a proxy's page
            text = ""
    return _one_line(text)


def _one_line(text: object, longest: int = 300) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def _no_answer(api: Api, error: Exception) -> str:
    """No answer at all, in one line."""
    reason: Any = error
    while isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason:
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.SSLError):
        return _no_tls(api, reason)
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return (
            f"{api.host} did not answer within {READ_SECONDS:g} seconds: is it overloaded? try "
            "again later"
        )
    if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.TimeoutError):
        address = urlsplit(api.host)
        if address.hostname in ("localhost", "127.0.0.1", "::1"):
            return (
                f"nothing listens at {api.host}: start `kubectl port-forward --namespace "
                f"{api.namespace} service/ml-pipeline-ui {address.port or 80}:80` in another "
                "terminal (the namespace is the one that Kubeflow Pipelines is installed in)"
            )
        return (
            f"{api.host} can't be reached ({_one_line(reason)}): check api.host, the network and "
            "the VPN"
        )
    while reason.args and isinstance(reason.args[-1], Exception):
        reason = reason.args[-1]
    return f"{api.host} dropped the connection ({_one_line(reason)}): try again"


def _no_tls(api: Api, reason: object) -> str:
    return (
        f"no secure connection to {api.host} ({_one_line(reason)}): if its certificate is signed "
        "by your own authority, name that authority's file in api.ca_file"
    )


def submit(
    client: kfp.Client, environment: Environment, parameters: Parameters, name: str
) -> kfp_server_api.V2beta1Run:
    """Start a run: upload the pipeline unless it is there, and run it in the experiment.

    Args:
        client: of ``connect``.
        environment: where the steps run.
        parameters: of the run.
        name: of the run, as the KFP page shows it.

    Raises:
        ApiError: the API refused, or did not answer. Without an answer the run may have started
            all the same; the message says so.
    """
    version = upload_pipeline(client, environment, parameters)
    experiment = ensure_experiment(client, environment)
    run = kfp_server_api.V2beta1Run(
        display_name=name,
        experiment_id=experiment.experiment_id,
        pipeline_version_reference=kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(
            parameters=parameters.arguments(), pipeline_root=environment.pipeline_root
        ),
        service_account=environment.service_account,
    )
    return start(client, run)


def start(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> kfp_server_api.V2beta1Run:
    """Start a run.

    Raises:
        ApiError: the API refused, or did not answer. Without an answer the run may have started
            all the same; the message says so.
    """
    try:
        return client.runs.run_service_create_run(run=run)
    except ApiError as error:
        if not error.undecided:
            raise
        raise ApiError(
            f"{error}; the run {run.display_name} may have started all the same: look with "
            "`genpipe runs` before you start it again",
            error.status,
        ) from None


def upload_pipeline(
    client: kfp.Client, environment: Environment, parameters: Parameters
) -> kfp_server_api.V2beta1PipelineVersion:
    """The pipeline, compiled for an environment, as a version on the cluster.

    A version is named by the digest of its content, so the same content is uploaded once.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    namespace = client.get_user_namespace()
    pipelines = client.pipelines
    pipeline = ensure(
        lambda: _named(
            pipelines.pipeline_service_list_pipelines, "pipelines", NAME, namespace=namespace
        ),
        lambda: pipelines.pipeline_service_create_pipeline(
            pipeline=kfp_server_api.V2beta1Pipeline(
                display_name=NAME,
                name=NAME,
                namespace=namespace,
                description="genpipe: generative models at several latent sizes",
            )
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compile_to(file, environment, parameters)
        version = version_name(file)
        return ensure(
            lambda: _named(
                pipelines.pipeline_service_list_pipeline_versions,
                "pipeline_versions",
                version,
                pipeline_id=pipeline.pipeline_id,
            ),
            lambda: client.pipeline_uploads.upload_pipeline_version(
                str(file),
                name=version,
                pipelineid=pipeline.pipeline_id,
                description=f"compiled for {environment.name}",
            ),
        )


def version_name(file: Path) -> str:
    """The name of a compiled pipeline's version: the digest of its content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def ensure_experiment(
    client: kfp.Client, environment: Environment
) -> kfp_server_api.V2beta1Experiment:
    """The environment's experiment, created if it is missing.

    Raises:
        ApiError: the API refused, or did not answer.
    """
    return ensure(
        lambda: find_experiment(client, environment),
        lambda: client.experiments.experiment_service_create_experiment(
            experiment=kfp_server_api.V2beta1Experiment(
                display_name=environment.experiment, namespace=client.get_user_namespace()
            )
        ),
    )


def find_experiment(
    client: kfp.Client, environment: Environment
) -> kfp_server_api.V2beta1Experiment | None:
    """The environment's experiment, or None before its first run."""
    return _named(
        client.experiments.experiment_service_list_experiments,
        "experiments",
        environment.experiment,
        namespace=client.get_user_namespace(),
    )


def ensure(find: Callable[[], Any], create: Callable[[], Any]) -> Any:
    """What is found, or else created; another one who creates it at the same time is fine."""
    found = find()
    if found:
        return found
    try:
        return create()
    except ApiError as error:
        found = find() if error.undecided else None
        if not found:
            raise
        return found


def _named(listing: Callable[..., Any], field: str, name: str, **query: Any) -> Any:
    """The newest thing with a display name, or None."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    found = listed(listing, field, filter=json.dumps({"predicates": [predicate]}), **query)
    return next((one for one in found if one.display_name == name), None)


def listed(listing: Callable[..., Any], field: str, **query: Any) -> Iterator[Any]:
    """All that a list call has, newest first, page by page."""
    token = ""
    while True:
        page = listing(page_token=token, page_size=PAGE_SIZE, sort_by="created_at desc", **query)
        yield from getattr(page, field) or []
        token = page.next_page_token
        if not token:
            return


def list_runs(client: kfp.Client, environment: Environment) -> Iterator[kfp_server_api.V2beta1Run]:
    """The runs of the environment's experiment, newest first, fetched as they are asked for."""
    experiment = find_experiment(client, environment)
    if experiment:
        yield from listed(
            client.runs.run_service_list_runs, "runs", experiment_id=experiment.experiment_id
        )


def find_run(client: kfp.Client, environment: Environment, run: str) -> kfp_server_api.V2beta1Run:
    """A run by its id, or the newest of its name in the environment's experiment.

    Raises:
        InputError: there is none.
        ApiError: the API refused, or did not answer.
    """
    try:
        UUID(run)
    except ValueError:
        experiment = find_experiment(client, environment)
        found = experiment and _named(
            client.runs.run_service_list_runs,
            "runs",
            run,
            experiment_id=experiment.experiment_id,
        )
    else:
        try:
            found = client.get_run(run)
        except ApiError as error:
            if error.status != 404:
                raise
            found = None
    if not found:
        raise InputError(
            f"there is no run {run!r} in experiment {environment.experiment} of "
            f"{environment.name}: `genpipe runs --environment {environment.name}` lists them"
        )
    return found


def stop(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> None:
    """Stop a run; what its finished steps made stays.

    Raises:
        StepError: it has ended already, or the API refused.
    """
    if run.state in ENDED:
        raise StepError(f"run {run.display_name} has ended already: {run.state}")
    client.terminate_run(run.run_id)


def retry(client: kfp.Client, run: kfp_server_api.V2beta1Run) -> None:
    """Run the failed steps of a run again, and those after them.

    Raises:
        StepError: it has not failed, or the API refused.
    """
    if run.state not in ("FAILED", "CANCELED"):
        raise StepError(
            f"run {run.display_name} is {run.state}: only one that FAILED or was CANCELED can be "
            "retried"
        )
    client.runs.run_service_retry_run(run_id=run.run_id)


def link(client: kfp.Client, run_id: str) -> str:
    """Address of a run's page, where ``api.host`` (or KF_PIPELINES_UI_ENDPOINT) has the page."""
    return f"{client._get_url_prefix().rstrip('/')}/#/runs/details/{run_id}"


def follow(
    client: kfp.Client, run_id: str, show: Callable[[str], None], timeout: float | None = None
) -> kfp_server_api.V2beta1Run:
    """Show each change of a run's steps until the run ends; an outage of minutes is sat out.

    Args:
        client: of ``connect``.
        run_id: of the run.
        show: takes one line for each change.
        timeout: seconds to wait at most; None for as long as it takes.

    Returns:
        The run, ended: its state is one of ``ENDED``.

    Raises:
        TimedOutError: the run goes on after ``timeout``.
        ApiError: the API refused, or was away for more than ``OUTAGE_SECONDS``.
    """
    began = last_answer = time.monotonic()
    shown: dict[str, str] = {}
    away = False
    while True:
        try:
            run = client.get_run(run_id)
        except ApiError as error:
            if not error.passing or time.monotonic() - last_answer > OUTAGE_SECONDS:
                raise
            if not away:
                show(f"{error}; trying again")
            away = True
        else:
            away, last_answer = False, time.monotonic()
            for task_id, line in _task_lines(run):
                if shown.get(task_id) != line:
                    shown[task_id] = line
                    show(f"{time.strftime('%H:%M:%S')}  {line}")
            if run.state in ENDED:
                return run
        left = POLL_SECONDS
        if timeout is not None:
            left = min(left, began + timeout - time.monotonic())
            if left <= 0:
                raise TimedOutError(f"the run goes on after {timeout:g} seconds")
        time.sleep(left)


def _task_lines(run: kfp_server_api.V2beta1Run) -> Iterator[tuple[str, str]]:
    """Id and line of each step's task: its name, its state, and what went wrong.

    A KFP run has several tasks for each step (driver, executor, the loop's own); only those that
    stand for a step are shown, and others that failed.
    """
    tasks = (run.run_details.task_details if run.run_details else None) or []
    parents = {
        child.pod_name or child.task_id: task for task in tasks for child in task.child_tasks or []
    }
    for task in tasks:
        known = STEP_NAME.fullmatch(task.display_name or "")
        reason = _one_line(task.error.message or "") if task.error else ""
        state = task.state or "PENDING"
        if known:
            name = _step_name(known[1].replace("-", "_"), task, parents, run)
        elif state == "FAILED" and reason:
            name = task.display_name
        else:
            continue
        yield task.task_id, f"{name:<24}{state.lower()}{f': {reason}' if reason else ''}"


def _step_name(
    step: str, task: Any, parents: dict[str, Any], run: kfp_server_api.V2beta1Run
) -> str:
    """A step's name as in a local run, such as ``evaluate-vae-10``.

    KFP says neither family nor latent size of a task in a loop; both are read off the tasks above
    it, its training and the loop's iteration, and left out where those are not told.
    """
    if step not in ("evaluate", "sample") and not step.startswith("train_"):
        return step
    family, index, above, seen = "", None, task, set()
    while above is not None and index is None and above.task_id not in seen:
        seen.add(above.task_id)
        name = above.display_name or ""
        iteration = ITERATION.search(name)
        index = int(iteration[1]) if iteration else None
        if name.startswith("train-") and STEP_NAME.fullmatch(name):
            family = name.removeprefix("train-")
        above = parents.get(above.pod_name) or parents.get(above.task_id)
    parts = [step] if step.startswith("train_") or not family else [step, family]
    sizes = (run.runtime_config.parameters if run.runtime_config else None) or {}
    sizes = sizes.get("latent_sizes") or []
    if index is not None and index < len(sizes):
        parts.append(f"{sizes[index]:g}")
    return "-".join(parts)
