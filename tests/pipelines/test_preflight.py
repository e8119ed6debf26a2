"""Places that a run can't use are told before it starts, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from genpipe import storage
from genpipe.errors import InputError, StepError
from pipelines.environments import Environment, local_environment
from pipelines.parameters import Parameters
from pipelines.preflight import check_cluster, check_local, check_settings
from tests.faulty_proxy import Fault, FaultyProxy
from tests.pipelines.cluster.fake_api import FakeApi

PUBLISHING = Parameters(publish_to="gs://models/best")
ALWAYS = 1_000


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, credentials of nobody who runs the tests, and little patience."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-such-folder"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_TO_ANSWER", 0.5)
    monkeypatch.setattr("genpipe.storage.gcs.SECONDS_TO_WAIT", (0.02, 0.1))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


def cluster(**changes: Any) -> Environment:
    return local_environment().model_copy(update=changes)


def refusal(parameters: Parameters) -> str:
    with pytest.raises(StepError) as told:
        check_local(parameters, Path("runs"))
    assert "\n" not in str(told.value)
    return str(told.value)


def test_places_that_can_be_used_pass_and_stay_as_they_are(bucket: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{bucket}/archives/file", b"")
    archives, root = tmp_path / "archives", f"{bucket}/root"
    storage.write_bytes(archives / "file", b"")
    said: list[str] = []

    check_local(Parameters(source=f"{bucket}/archives", publish_to=bucket), tmp_path)
    published = str(tmp_path / "new" / "folder")
    check_local(Parameters(source=str(archives), publish_to=published), tmp_path)
    check_cluster(cluster(pipeline_root=root, checkpoint_root=root), PUBLISHING, said.append)

    assert said == []
    assert storage.list_files(bucket) == ["archives/file"]
    assert list(tmp_path.iterdir()) == [archives]


def test_a_missing_bucket_is_told(bucket: str) -> None:
    told = refusal(Parameters(publish_to="gs://modles/best"))

    assert told.startswith("publish_to: gs://modles/best does not exist (404 from http://127")


@pytest.mark.parametrize(
    ("method", "status", "told"),
    [
        ("GET", 403, r"publish_to: access to gs://models/best is denied (403 from"),
        ("POST", 403, r"publish_to: access to gs://models/best is denied (403 from"),
        ("POST", 503, r"answers 503 to each request for gs://models/best: try again later"),
    ],
)
def test_a_refusal_is_told(method: str, status: int, told: str, proxy: FaultyProxy) -> None:
    proxy.script(method, "/models/o", *[Fault("status", status)] * ALWAYS)

    assert told in refusal(PUBLISHING)


def test_a_host_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")

    assert "publish_to: cannot reach http://127.0.0.1:9 to open gs://models/best" in refusal(
        PUBLISHING
    )


def test_expired_credentials_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = json.dumps(
                {"error": "invalid_grant", "error_description": "Token has been expired or revoked"}
            )
            self.send_response(400)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Tokens) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        account = {
            "type": "service_account",
            "client_email": "runner@example.iam.gserviceaccount.com",
            "private_key": key.decode(),
            "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
        }
        file = tmp_path / "key.json"
        file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        told = refusal(PUBLISHING)
        server.shutdown()

    assert "credentials to open gs://models/best have expired or are revoked (invalid_grant" in told
    assert "gcloud auth application-default login" in told


def test_without_credentials_only_a_local_run_is_refused() -> None:
    said: list[str] = []

    assert "publish_to: no Google Cloud credentials to open gs://models/best" in refusal(PUBLISHING)
    check_cluster(cluster(), PUBLISHING, said.append)

    assert said == ["publish_to gs://models/best was not checked: no Google Cloud credentials here"]


def test_credentials_that_are_named_and_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))

    with pytest.raises(StepError, match=r"GOOGLE_APPLICATION_CREDENTIALS is \S+key.json, which"):
        check_cluster(cluster(), PUBLISHING, print)


@pytest.mark.parametrize("kind", ["missing", "empty", "prefix"])
def test_a_source_with_nothing_in_it_is_told(kind: str, bucket: str, tmp_path: Path) -> None:
    places = {"missing": tmp_path / "missing", "empty": tmp_path, "prefix": f"{bucket}/archives"}
    source = str(places[kind])

    assert source in refusal(Parameters(source=source))


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    told = refusal(Parameters(publish_to=str(tmp_path / "file" / "best")))

    assert told == f"publish_to: {tmp_path}/file is a file, not a folder"


def test_a_run_is_refused_before_it_has_a_folder(
    bucket: str, genpipe: Callable[..., Any], tmp_path: Path
) -> None:
    status, printed, errors = genpipe("run", "--quick", "--publish-to", "gs://modles/best")

    assert (status, printed) == (1, "")
    assert errors.startswith("error: publish_to: gs://modles/best does not exist")
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.parametrize("command", ["submit", "schedule apply"])
def test_nothing_is_sent_to_a_cluster_whose_bucket_is_missing(
    command: str, bucket: str, api: FakeApi, genpipe: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(api.environment().model_dump(exclude_defaults=True)))
    schedule = tmp_path / "weekly.yaml"
    schedule.write_text("name: weekly\ncron: '@weekly'\n")
    arguments = [*command.split(), *([str(schedule)] if command != "submit" else [])]
    arguments += ["--environment", str(file)]

    status, _, errors = genpipe(*arguments)

    assert status == 1
    assert errors.startswith("error: pipeline_root: gs://bucket/root does not exist")
    assert "--no-preflight" in errors
    assert not api.requests

    status, _, errors = genpipe(*arguments, "--no-preflight")

    where = f"to fake: {api.url}, namespace team, experiment genpipe\n"
    assert (status, errors) == (0, where)
    assert len(api.runs if command == "submit" else api.recurring_runs) == 1


@pytest.mark.parametrize("command", ["submit", "schedule apply"])
@pytest.mark.parametrize("setting", ["source", "publish_to"])
def test_a_path_that_would_be_gone_with_its_pod_is_not_sent_to_a_cluster(
    command: str, setting: str, api: FakeApi, genpipe: Callable[..., Any], tmp_path: Path
) -> None:
    step = {"source": "ingest", "publish_to": "publish"}[setting]
    schedule, file = tmp_path / "weekly.yaml", tmp_path / "cluster.yaml"
    schedule.write_text(f"name: weekly\ncron: '@weekly'\nparameters: {{{setting}: /data/best}}\n")
    content = api.environment().model_dump(exclude_defaults=True)
    arguments = [*command.split(), *([str(schedule)] if command != "submit" else [])]
    arguments += ["--environment", str(file), "--no-preflight"]
    arguments += ["--param", f"{setting}=/data/best"] if command == "submit" else []

    steps = {"source": ["ingest", "fingerprint"], "publish_to": ["publish"]}[setting]
    other = next(name for name in ("ingest", "publish") if name != step)
    for mounting in ([], [other]):
        content["volumes"] = [{"claim": "data", "path": "/data", "steps": mounting}]
        file.write_text(yaml.safe_dump(content))
        status, _, errors = genpipe(*arguments)
        assert status == 2
        assert f"error: {setting}: /data/best is in no volume that {step} mounts" in errors
        assert not api.requests

    content["volumes"][0]["steps"] = steps
    file.write_text(yaml.safe_dump(content))
    assert genpipe(*arguments)[0] == 0


def test_more_cells_than_one_argument_holds_are_refused_before_anything_is_trained() -> None:
    """72 cells is what the 1,757 bytes a cell come to that were seen on KFP with this root."""
    environment = Environment.read("cluster-cpu")

    def with_cells(count: int) -> Parameters:
        return Parameters(families=("vae",), latent_sizes=tuple(range(1, count + 1)))

    check_settings(environment, with_cells(72))
    near = environment.model_copy(update={"pipeline_root": "gs://models/root"})
    check_settings(near, with_cells(150))
    with pytest.raises(InputError, match="can hand at most 72 to the compare step"):
        check_settings(environment, with_cells(73))
    with pytest.raises(InputError, match="200 cells are too many for one run"):
        check_local(with_cells(200), Path("/home/somebody/runs"))
