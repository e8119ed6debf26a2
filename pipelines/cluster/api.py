"""The API of Kubeflow Pipelines, as an environment names it.

It is reached through kfp's client, whose every request is bounded in time and tried again where
that can't do a thing twice; errors are reported in one line that says what to do.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import kfp
import kfp_server_api
import urllib3
from kfp.client import ServiceAccountTokenVolumeCredentials
from kfp_server_api.rest import RESTClientObject
from requests.utils import get_environ_proxies, select_proxy

from genpipe.errors import InputError, StepError
from genpipe.words import one_line
from pipelines.environments import Environment
from pipelines.settings import Api

TOKEN_VARIABLE = "GENPIPE_TOKEN"
COOKIES_VARIABLE = "GENPIPE_COOKIES"

CONNECT_SECONDS = 10
READ_SECONDS = 30
TRIES = 4
BACKOFF_SECONDS = 0.5  # the second try comes at once, those after it wait 1 and 2 seconds
LONGEST_WAIT_SECONDS = 30
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PLAIN_TEXT = "text/plain"
API_ADDRESS = (
    "api.host is what comes before /apis/v2beta1: http://localhost:8888 of a port-forward, "
    "https://HOST of Kubeflow Pipelines alone, https://HOST/pipeline of a full Kubeflow"
)


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
            f"{environment.name!r} is this machine, not a cluster: use `genpipe run`, or give a "
            "cluster's environment file"
        )
    if api.ca_file and not Path(api.ca_file).is_file():
        raise InputError(f"api.ca_file {api.ca_file}: there is no such file")
    # It would report each try; what matters is reported once, when all of them have failed.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that the server must be newer than 2.0
        try:
            client = _Client(api)
        except (ApiError, InputError):
            raise
        except Exception as error:  # google.auth, the token files of kfp, requests
            raise StepError(
                f"no login for {api.host} ({api.authentication}): {one_line(error)}"
            ) from error
    try:
        client.healthzs.healthz_service_get_healthz()
    except ApiError as error:
        if error.status != 404:
            raise
        raise ApiError(
            f"{api.host} answers, but not as a Kubeflow Pipelines API (404): {API_ADDRESS}",
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
            ssl_ca_cert=api.ca_file or os.environ.get("REQUESTS_CA_BUNDLE"),
            proxy=_proxy(api.host),
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
            connect=0,  # a closed port is reported at once: a port-forward is not running
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

    def increment(self, *arguments: Any, **options: Any) -> Self:
        after = super().increment(*arguments, **options)
        silent = isinstance(options.get("error"), urllib3.exceptions.ReadTimeoutError)
        if silent and sys.stderr.isatty():
            told = f"no answer yet: try {TRIES - int(after.total or 0)} of {TRIES}"
            print(told, file=sys.stderr)
        return after


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
            if (options.get("headers") or {}).get("Accept") != PLAIN_TEXT:
                json.loads(response.data)
        except ValueError:  # kfp's client would make an empty object of it
            raise ApiError(_no_json(self._api, response.data), 401) from None
        return response


def get_json(client: kfp.Client, path: str) -> Any:
    """What the API answers at a path that kfp's client has no method for.

    Raises:
        ApiError: it refused, or did not answer.
    """
    return client.runs.api_client.call_api(
        path, "GET", response_type="object", auth_settings=["Bearer"], _return_http_data_only=True
    )


def get_text(client: kfp.Client, path: str, query: Mapping[str, str]) -> str:
    """What the server answers at a path, as text and not as JSON.

    Raises:
        ApiError: it refused, or did not answer.
    """
    api_client = client.runs.api_client
    headers = {**api_client.default_headers, "Accept": PLAIN_TEXT}
    if api_client.cookie:
        headers["Cookie"] = api_client.cookie
    api_client.update_params_for_auth(headers, [], ["Bearer"])
    answer = api_client.rest_client.GET(
        api_client.configuration.host + path, headers=headers, query_params=[*query.items()]
    )
    content: bytes = answer.data
    return content.decode("utf-8", "replace")


def _proxy(host: str) -> str | None:
    """The proxy of an address, by the variables of the surroundings; none for this machine's own.

    kfp's client has no eye for them.
    """
    if urlsplit(host).hostname in LOOPBACK:
        return None
    proxy: str | None = select_proxy(host, get_environ_proxies(host))
    return proxy


def _credentials(api: Api) -> dict[str, Any]:
    """What kfp's client is to log in with.

    Raises:
        InputError: it is to come from an environment variable that is not set.
        StepError: this is not a pod with a token of its service account.
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
    where = f"{api.host} answered {status}{f' ({said})' if said else ''}"
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
        what = "not found: check name and namespace; `genpipe runs --environment NAME` lists runs"
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


def _no_json(api: Api, answer: bytes) -> str:
    """An answer that is no API's, in one line."""
    text = answer.decode("utf-8", "replace")
    title = re.search(r"<title>([^<]+)</title>", text, re.IGNORECASE)
    name = one_line(title[1]) if title else ""
    said = f"with the page {name!r}" if name else f"with {one_line(text, 60)!r}"
    # Kubeflow's own pages answer at every path that they do not know.
    if name in ("Kubeflow Central Dashboard", "Kubeflow Pipelines"):
        return f"{api.host} answered {said}, and not as an API: {API_ADDRESS}"
    return f"{api.host} answered {said}, and not as an API: {_login(api)}; {API_ADDRESS}"


def _message(error: kfp_server_api.ApiException) -> str:
    """What the server said, without the JSON around it and the stack of wrapped errors below."""
    text = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else ""
    try:
        answer = json.loads(text)
        text = str(answer.get("message") or answer.get("error") or "")
    except (ValueError, AttributeError):
        if "<" in text:  # a proxy's page
            text = ""
    return one_line(text)


def _no_answer(api: Api, error: Exception) -> str:
    """No answer at all, in one line."""
    reason: Any = error
    while isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason:
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.SSLError):
        return _no_tls(api, reason)
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return (
            f"{api.host} took the connection but did not answer within {READ_SECONDS:g} seconds: "
            "check api.host, or try again later"
        )
    if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.TimeoutError):
        address = urlsplit(api.host)
        if address.hostname in LOOPBACK:
            return (
                f"nothing listens at {api.host}: start `kubectl port-forward --namespace "
                f"{api.namespace} service/ml-pipeline-ui {address.port or 80}:80` in another "
                "terminal (the namespace is the one that Kubeflow Pipelines is installed in)"
            )
        advice = "check api.host, the network and the VPN"
        if isinstance(reason, urllib3.exceptions.NameResolutionError):
            return f"host {address.hostname} is unknown: {advice}"
        return f"{api.host} can't be reached ({one_line(reason)}): {advice}"
    while reason.args and isinstance(reason.args[-1], Exception):
        reason = reason.args[-1]
    return f"{api.host} dropped the connection ({one_line(reason)}): try again"


def _no_tls(api: Api, reason: object) -> str:
    return (
        f"no secure connection to {api.host} ({one_line(reason)}): if its certificate is signed "
        "by your own authority, name that authority's file in api.ca_file"
    )
