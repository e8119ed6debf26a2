"""The login, the requests and their failures, against a server of the v2beta1 API."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

import kfp
import pytest
import trustme

from genpipe.errors import InputError, StepError
from pipelines.cluster import api as kfp_api
from pipelines.cluster.api import TRIES, ApiError, connect
from pipelines.cluster.runs import ensure_experiment
from pipelines.environments import Environment
from tests.pipelines.cluster.fake_api import FakeApi, started
from tests.recording_proxy import recording_proxy

# --- the login


def test_this_machine_has_no_api() -> None:
    with pytest.raises(
        InputError, match=r"local. is this machine, not a cluster: use .genpipe run"
    ):
        connect(Environment.read("local"))


def test_a_token_is_sent_as_bearer(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPIPE_TOKEN", " a-token\n")

    connect(api.environment(authentication="token"))

    assert {request.headers["authorization"] for request in api.requests} == {"Bearer a-token"}


def test_cookies_are_sent_as_they_are(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPIPE_COOKIES", "authservice_session=abc")

    connect(api.environment(authentication="cookies"))

    assert api.requests[-1].headers["cookie"] == "authservice_session=abc"


def test_a_service_accounts_token_is_read_anew_for_each_request(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))

    client = connect(api.environment(authentication="service-account"))
    token.write_text("second")
    client.list_experiments()

    sent = [request.headers["authorization"] for request in api.requests]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("authentication", "told"),
    [
        ("token", "GENPIPE_TOKEN: it is not set"),
        ("cookies", "GENPIPE_COOKIES: it is not set"),
        ("service-account", "no service account token at"),
    ],
)
def test_a_login_that_is_not_there_is_refused_before_anything_is_sent(
    api: FakeApi, authentication: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        connect(api.environment(authentication=authentication))

    assert not api.requests


def test_a_token_that_no_header_can_hold_is_refused_without_being_shown(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENPIPE_TOKEN", "gehe\u00efm")

    with pytest.raises(InputError, match="GENPIPE_TOKEN holds characters") as refusal:
        connect(api.environment(authentication="token"))

    assert "gehe" not in str(refusal.value)


def test_an_iap_login_that_fails_is_told_in_one_line(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("could not find\ndefault credentials")

    monkeypatch.setattr("kfp.client.auth.get_auth_token", fail)

    with pytest.raises(StepError, match=r"\(iap\): could not find default credentials"):
        connect(api.environment(authentication="iap", client_id="mine"))


def test_nothing_but_the_environment_says_how_to_connect(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = tmp_path / "context.json"
    other = {"namespace": "other", "client_authentication_cookie": "other=1"}
    context.write_text(json.dumps(other))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(context))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://other.example.com")
    monkeypatch.setenv("KF_PIPELINES_IAP_OAUTH2_CLIENT_ID", "other")

    client = connect(api.environment(namespace="kubeflow"))
    ensure_experiment(client, api.environment())

    assert [one.namespace for one in api.experiments.values()] == ["kubeflow"]
    assert not any({"cookie", "authorization"} & set(one.headers) for one in api.requests)


# --- what goes wrong


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 401}, r"answered 401 .*put a fresh token into GENPIPE_TOKEN"),
        ({"status": 403}, r"answered 403 .*may not do that in namespace team"),
        ({"status": 404}, r"not as a Kubeflow Pipelines API \(404\)"),
        ({"status": 429, "times": 99}, r"answered 429 .*4 times in a row: try again in a minute"),
        ({"status": 500, "times": 99}, r"answered 500 .*kubectl logs --namespace team"),
        ({"status": 503, "times": 99, "body": b"<html>\nno</html>"}, r"answered 503: the server"),
        ({"drop": True, "times": 99}, "dropped the connection"),
        ({"slow": 60, "times": 99}, "did not answer within 0.1 seconds"),
        (
            {"status": 302, "headers": {"Location": "http://login/?k=1"}},
            "redirects to http://login",
        ),
        (
            {"status": 200, "body": b"<html><title>Log in</title></html>"},
            r"answered with the page 'Log in', .*put a fresh token .*HOST/pipeline of a full",
        ),
        (
            {"status": 200, "body": b"<title>Kubeflow Central Dashboard</title>"},
            r"'Kubeflow Central Dashboard', and not as an API: api\.host is what comes before",
        ),
        ({"status": 200, "body": b"hello\n"}, "answered with 'hello', and not as an API"),
    ],
)
def test_each_failure_is_one_line_that_says_what_to_do(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], told: str
) -> None:
    if "slow" in fault:
        monkeypatch.setattr(kfp_api, "READ_SECONDS", 0.1)
    monkeypatch.setenv("GENPIPE_TOKEN", "a-secret-token")
    api.fail("/healthz", **fault)

    with pytest.raises(ApiError, match=told) as failure:
        connect(api.environment(authentication="token"))

    message = str(failure.value)
    assert api.url in message
    assert "\n" not in message
    assert "a-secret-token" not in message
    assert len(api.requests) == min(fault.get("times", 1), TRIES)


def test_that_a_silent_server_is_asked_again_is_told(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kfp_api, "READ_SECONDS", 0.1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    api.fail("/healthz", slow=60, times=99)

    with pytest.raises(ApiError):
        connect(api.environment())

    tries = [f"no answer yet: try {number} of 4" for number in (2, 3, 4)]
    assert capsys.readouterr().err.splitlines() == tries


def test_nobody_listening_here_is_told_with_the_port_forward() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    environment = FakeApi.environment_of(f"http://localhost:{port}")

    with pytest.raises(ApiError, match=f"ml-pipeline-ui {port}:80") as failure:
        connect(environment)

    assert "kubectl port-forward --namespace team service/" in str(failure.value)


def test_a_host_that_has_no_address_is_told() -> None:
    with pytest.raises(ApiError, match=r"^host kfp\.invalid is unknown: check api\.host, "):
        connect(FakeApi.environment_of("http://kfp.invalid"))


def test_a_server_without_tls_is_told(api: FakeApi) -> None:
    with pytest.raises(ApiError, match=r"no secure connection .*api\.ca_file"):
        connect(api.environment(host=api.url.replace("http:", "https:")))


@pytest.mark.parametrize("named", ["api.ca_file", "REQUESTS_CA_BUNDLE", ""])
def test_an_authority_of_ones_own_is_named_by_field_or_variable(
    named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if named.isupper():
        monkeypatch.setenv(named, str(tmp_path / "ca.pem"))
    changes = {"ca_file": str(tmp_path / "ca.pem")} if named == "api.ca_file" else {}
    trusted = contextlib.nullcontext() if named else pytest.raises(ApiError, match="ca_file")
    with FakeApi(certificate=authority.issue_cert("127.0.0.1")) as api, trusted:
        connect(api.environment(**changes))


def test_a_proxy_of_the_surroundings_is_asked_but_for_this_machine(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording_proxy() as proxy:
        for name, value in proxy.variables.items():
            monkeypatch.setenv(name, value)
        connect(api.environment())
        with pytest.raises(ApiError, match="kfp"):
            connect(FakeApi.environment_of("https://kfp.invalid/pipeline"))
        monkeypatch.setenv("no_proxy", ".invalid")
        with pytest.raises(ApiError, match=r"host kfp\.invalid is unknown"):
            connect(FakeApi.environment_of("https://kfp.invalid/pipeline"))

    assert set(proxy.asked) == {"kfp.invalid:443"}


def test_an_authority_that_is_not_there_is_refused(api: FakeApi) -> None:
    with pytest.raises(InputError, match=r"api\.ca_file /none\.pem"):
        connect(api.environment(ca_file="/none.pem"))


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}, {"drop": True}])
def test_reading_is_tried_again(api: FakeApi, client: kfp.Client, fault: dict[str, Any]) -> None:
    run = started(api, client)
    api.fail(f"/runs/{run.run_id}", times=2, **fault)

    assert client.get_run(run.run_id).display_name == "first"
    assert len(api.sent("GET", f"/runs/{run.run_id}")) == 3


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"drop": True, "after": True}])
def test_a_run_is_never_started_twice(
    api: FakeApi, client: kfp.Client, fault: dict[str, Any]
) -> None:
    api.fail("/runs$", method="POST", **fault)

    with pytest.raises(ApiError, match="first may still have started"):
        started(api, client)

    assert len(api.sent("POST", "/runs")) == 1


def test_a_run_that_came_too_early_is_sent_again(api: FakeApi, client: kfp.Client) -> None:
    api.fail("/runs$", method="POST", status=429, headers={"Retry-After": "0"})

    started(api, client)

    assert len(api.runs) == 1
