"""What reaches in from outside: docs/reliability.md has the list, and each row its test here."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from genpipe import surroundings
from genpipe.data.dataset import Dataset
from genpipe.tracking.account import Account
from pipelines.local.cache import cache_for
from tests.recording_proxy import recording_proxy

GENPIPE = Path(sys.executable).with_name("genpipe")
KEY = "notakey" * 6
KERAS_JSON = {
    "backend": "jax",
    "floatx": "float16",
    "epsilon": 0.01,
    "image_data_format": "channels_first",
}
MATPLOTLIBRC = "text.usetex: True\nfont.size: 30\nfigure.facecolor: red\nlines.marker: x\n"
# A user who is in no /etc/passwd, as clusters give: within it, files are still one's own.
NOBODY = ("unshare", "--user", "--map-user=12345", "--map-group=12345")


def call(
    folder: Path, *command: str | Path, variables: Mapping[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """A process in a folder, with environment variables changed; those that are None are gone."""
    environment = {**os.environ, **(variables or {})}
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
    )


def train(
    folder: Path, digits: Dataset, *, before: tuple[str, ...] = (), **variables: str | None
) -> subprocess.CompletedProcess[str]:
    arguments = ("train", "--family", "vae", "--latent-size", "2", "--epochs", "1", "--name", "one")
    known = {"WANDB_MODE": "offline", **variables}
    data = ("--data", digits.folder)
    return call(folder, *before, GENPIPE, *arguments, *data, variables=known)


def weights(folder: Path) -> str:
    """The digest of all weights of the model that ``train`` made."""
    model = folder / "runs" / "one" / "train-vae-2" / "model" / "model.json"
    digest: str = json.loads(model.read_text())["weights_digest"]
    return digest


def config(folder: Path) -> Any:
    """What the training's W&B run has as its settings."""
    (logged,) = folder.glob("runs/one/wandb/*/offline-run-*")
    shown = call(folder, GENPIPE.with_name("wandb"), "leet", "inspect", "--json", logged)
    records = map(json.loads, shown.stdout.splitlines())
    opened = next(record["run"] for record in records if record["type"] == "run")
    return opened["config"]["update"]


@pytest.fixture(scope="module")
def plain(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training in this machine's own surroundings."""
    folder = tmp_path_factory.mktemp("plain")
    result = train(folder, digits)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder and, in it, a home: each with settings of other people's work."""
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    (home / ".keras" / "keras.json").write_text(json.dumps(KERAS_JSON))
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC)
    (tmp_path / "config-defaults.yaml").write_text("latent_size: {value: 99}\n")
    for package in ("components", "pipelines", "random", "keras"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('not this one')\n")
    return tmp_path


@pytest.mark.runs
def test_the_same_model_comes_out_whatever_surrounds_the_training(
    odd: Path, plain: Path, digits: Dataset
) -> None:
    result = train(
        odd,
        digits,
        before=("sh", "-c", 'umask 0077; exec "$@"', "sh"),
        HOME=str(odd / "home"),
        KERAS_BACKEND="torch",
        KERAS_MAX_EPOCHS="0",
        MPLBACKEND="module://of_a_notebook",
        PYTHONHASHSEED="7",
        PYTHONOPTIMIZE="2",
        TF_ENABLE_ONEDNN_OPTS="0",
        TF_USE_LEGACY_KERAS="1",
        TMPDIR=str(odd / "gone"),
        TZ="Asia/Kathmandu",
        LC_ALL="C",
        PYTHONUTF8="0",
        WANDB_SERVICE="3-1-tcp-localhost-9",
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert weights(odd) == weights(plain)
    assert config(odd) == config(plain)
    assert config(odd)["latent_size"] == 2
    assert not list((odd / "home" / ".keras").glob("[!k]*"))  # Keras keeps nothing there either


@pytest.mark.runs
def test_what_may_change_the_bits_of_a_result_is_recorded_with_it(
    tmp_path: Path, plain: Path, digits: Dataset
) -> None:
    flags = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "TF_NUM_INTRAOP_THREADS": "1"}

    result = train(tmp_path, digits, TF_CPP_MIN_LOG_LEVEL="3", **flags)

    assert result.returncode == 0, result.stdout + result.stderr
    metadata = json.loads((tmp_path / "runs/one/train-vae-2/model/model.json").read_text())
    assert metadata["environment"]["variables"] == flags
    assert weights(tmp_path) != weights(plain)


def test_each_kind_of_result_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in surroundings.variables_of_results():
        monkeypatch.delenv(name)
    names = [cache_for(Account("offline")), cache_for(Account("disabled"))]
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert cache_for(Account("online", "https://h")) == names[0]
    for value in ("--a", "--b"):
        monkeypatch.setenv("XLA_FLAGS", value)
        names.append(cache_for(Account("offline")))

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["XLA_FLAGS", "TF_XLA_FLAGS"])
def test_a_flag_that_tensorflow_does_not_know_is_heard(
    name: str, tmp_path: Path, digits: Dataset
) -> None:
    result = train(tmp_path, digits, **{name: "--xla_of_another_version=1"})

    assert result.returncode != 0
    assert "--xla_of_another_version" in result.stderr


def test_a_user_without_a_home_gets_one(tmp_path: Path, digits: Dataset) -> None:
    if subprocess.run([*NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make user namespaces")
    (tmp_path / "temporary").mkdir()
    nameless = dict.fromkeys(("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"))

    result = train(tmp_path, digits, before=NOBODY, TMPDIR=str(tmp_path / "temporary"), **nameless)

    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert (tmp_path / "temporary" / "genpipe-12345").is_dir()


@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/1/none"])
def test_a_home_that_cannot_be_made_is_replaced_by_one_of_this_user(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"genpipe-{os.getuid()}"
    for _ in range(2):
        monkeypatch.setenv("HOME", home)
        surroundings.prepare()
        assert (os.environ["HOME"], stat.S_IMODE(own.stat().st_mode)) == (str(own), 0o700)

    own.rmdir()
    own.symlink_to("/etc")  # somebody else was there first
    monkeypatch.setenv("HOME", home)
    surroundings.prepare()
    assert os.environ["HOME"].startswith(str(tmp_path / "genpipe-"))
    assert not Path(os.environ["HOME"]).is_symlink()


def test_plots_do_not_follow_settings_of_the_folder(odd: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from genpipe.metrics.latent import Plane
from genpipe.reporting.scatter import draw_scatter
points = np.random.default_rng(0).normal(size=(200, 2))
plane = Plane(points, ("z1", "z2"))
labels, names = np.arange(200) % 10, [*"0123456789"]
draw_scatter(Path(sys.argv[1]), plane, labels, names, title="t", prior=True)
"""
    pictures = []
    for folder in (odd, Path("/")):
        picture = tmp_path / f"{len(pictures)}.png"
        done = call(folder, sys.executable, "-P", "-c", script, picture)
        assert done.returncode == 0, done.stderr
        pictures.append(picture.read_bytes())

    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing(closed: str, tmp_path: Path) -> None:
    script = f'"$0" compile --environment local --output p.yaml {closed}'

    made = call(tmp_path, "sh", "-c", script, GENPIPE)

    assert (made.returncode, made.stderr) == (0, "")
    assert (tmp_path / "p.yaml").is_file()


def test_whoever_wants_no_cache_of_kfps_gets_none(tmp_path: Path) -> None:
    compiled = ("compile", "--environment", "local", "--output", "p.yaml")
    call(tmp_path, GENPIPE, *compiled)
    assert "enableCache: true" in (tmp_path / "p.yaml").read_text()

    call(tmp_path, GENPIPE, *compiled, variables={"KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT": "1"})
    assert "enableCache: true" not in (tmp_path / "p.yaml").read_text()


def test_a_package_of_pythonpath_that_is_called_as_ours_is_named(odd: Path) -> None:
    """Python takes it for ours, as it is told to; it does not go unseen."""
    failed = call(odd, GENPIPE, "parameters", variables={"PYTHONPATH": str(odd)})

    assert failed.returncode != 0
    assert "not this one" in failed.stderr


def test_a_step_of_another_pipeline_can_start_one(tmp_path: Path) -> None:
    compiled = ("compile", "--environment", "local", "--output", "p.yaml")
    made = call(tmp_path, GENPIPE, *compiled, variables={"_KFP_RUNTIME": "true"})

    assert (made.returncode, made.stderr) == (0, "")


def test_a_current_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && "$0" run --quick'

    told = call(tmp_path, "sh", "-c", script, GENPIPE)

    assert told.returncode == 2
    assert told.stderr == "error: the current folder is gone: go to another one\n"


# --- the network: each connection goes where its library's own variables say

# What asks each of the hosts, and what is set so that it would be asked.
CONNECTIONS = {
    "Kubeflow Pipelines": (("runs", "--environment", "cluster.yaml"), {}),
    "S3": (
        ("artifacts", "list", "s3://models/run"),
        {
            "AWS_ENDPOINT_URL": "https://asked.invalid",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        },
    ),
    "W&B": (
        ("wandb", "sync", "logged"),
        {"WANDB_BASE_URL": "https://asked.invalid", "WANDB_API_KEY": KEY},
    ),
}
SCRIPTS = {
    "TFDS": """
from genpipe.data.readers.sources import check_reachable
check_reachable("https://asked.invalid/mnist.gz", seconds=30)
""",
    "Cloud Storage": """
import os
from genpipe import storage
from genpipe.storage import gcs
os.environ["STORAGE_EMULATOR_HOST"] = "https://asked.invalid"
gcs.SECONDS_OF_RETRIES = 0.5
storage.exists("gs://models/best")
""",
}
# Of this machine, and of whoever runs the tests.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE")


@pytest.fixture
def asks(tmp_path: Path, plain: Path) -> Callable[..., str]:
    """Let a command ask a host, with environment variables; returns all that it printed."""
    api = {"host": "https://asked.invalid", "namespace": "team"}
    environment = {"name": "mine", "images": {"cpu": "genpipe:1"}, "api": api}
    (tmp_path / "cluster.yaml").write_text(json.dumps(environment))
    shutil.copytree(plain / "runs" / "one", tmp_path / "logged")

    def ask(what: str, variables: Mapping[str, str | None]) -> str:
        if what in SCRIPTS:
            command, known = (sys.executable, "-P", "-c", SCRIPTS[what]), {}
        else:
            arguments, known = CONNECTIONS[what]
            command = (GENPIPE, *arguments)
        own = {**dict.fromkeys(BUNDLES), "HOME": str(tmp_path), **known}
        done = call(tmp_path, *command, variables={**own, **variables})
        return done.stdout + done.stderr

    return ask


@pytest.mark.parametrize("what", [*CONNECTIONS, *SCRIPTS])
def test_every_connection_goes_through_the_proxy_and_trusts_the_authority_that_are_set(
    what: str, asks: Callable[..., str], tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for trust in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", ""):
        with recording_proxy(authority) as proxy:
            trusted = {trust: str(tmp_path / "ca.pem")} if trust else {}
            said = asks(what, {**proxy.variables, **trusted})
        assert set(proxy.asked) == {"asked.invalid:443"}, said
        assert bool(proxy.read) == bool(trust), said
        assert trust or "certificate" in said.lower()


@pytest.mark.parametrize("what", [*CONNECTIONS, *SCRIPTS])
def test_no_proxy_is_asked_where_none_is_wanted(what: str, asks: Callable[..., str]) -> None:
    with recording_proxy() as proxy:
        asks(what, {**proxy.variables, "NO_PROXY": ".invalid", "no_proxy": ".invalid"})

    assert proxy.asked == []
