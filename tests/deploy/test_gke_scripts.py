"""The scripts for Google Cloud: real gcloud takes every command, and remove.sh undoes create.sh."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from pipelines.environments import Environment
from pipelines.placement import SPOT

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = DEPLOY / "gke"
PROJECT = "project-1"
NO_ACCOUNT = "You do not currently have an active account selected"

Calls = list[list[str]]
Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def calls_file(tmp_path: Path) -> Path:
    return tmp_path / "calls"


@pytest.fixture
def script(tmp_path: Path, calls_file: Path) -> Script:
    """Runs a script where ``gcloud`` and ``kubectl`` note how they were called.

    What gcloud describes is there or not.
    """
    stub = tmp_path / "bin" / "gcloud"
    stub.parent.mkdir()
    # %q as the scripts print, one call a line.
    stub.write_text(
        "#!/usr/bin/env bash\n"
        f'{{ printf \'%q \' "${{0##*/}}" "$@" && echo; }} >> {shlex.quote(str(calls_file))}\n'
        'case "$*" in\n'
        '  "projects describe"*) echo 1234 ;;\n'
        '  *" disks list "*) echo disk-1 ;;\n'
        "  *' describe '*) exit ${DESCRIBED:-0} ;;\n"
        "esac\n"
    )
    stub.chmod(0o755)
    stub.with_name("kubectl").symlink_to(stub)

    def run(name: str, *flags: str, there: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPTS / name), *flags],
            # Without the settings that the caller's shell may hold.
            env={"PATH": f"{stub.parent}:/usr/bin:/bin", "DESCRIBED": "0" if there else "1"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def commands(text: str) -> Calls:
    lines = text.splitlines()
    return [shlex.split(line) for line in lines if line.startswith(("gcloud ", "kubectl "))]


def dry_run(script: Script, name: str, *flags: str) -> Calls:
    done = script(name, "--project", PROJECT, "--dry-run", *flags)
    assert done.returncode == 0, done.stderr
    return commands(done.stdout)


def option(command: list[str], name: str) -> str:
    return command[command.index(f"--{name}") + 1]


def one(calls: Calls, *words: str) -> list[str]:
    """The only command with these words in it."""
    (found,) = [call for call in calls if set(words) <= set(call)]
    return found


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("shellcheck"),
            "-x",
            *map(str, sorted(SCRIPTS.glob("*.sh"))),
        ],
        cwd=DEPLOY.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_takes_every_command_and_asks_for_an_account_only(
    script: Script, calls_file: Path, tmp_path: Path
) -> None:
    # Printed, and called: what a run asks for beside what it prints.
    calls = [
        *dry_run(script, "create.sh"),
        *dry_run(script, "create.sh", "--on-demand"),
        *dry_run(script, "remove.sh", "--keep-bucket"),
    ]
    for there in (True, False):
        script("create.sh", "--project", PROJECT, there=there)
        script("remove.sh", "--project", PROJECT, "--yes", there=there)
    calls += commands(calls_file.read_text())
    # Every command takes --quiet: with and without it is one, and asked with it where there is it.
    quiet = {
        tuple(word for word in call if word != "--quiet"): tuple(call) for call in sorted(calls)
    }
    distinct = sorted(call for call in quiet.values() if call[0] == "gcloud")
    assert len(distinct) > 20

    # Neither this machine's login nor one that a cloud machine brings: nothing can be changed.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
    }

    def told(command: tuple[str, ...]) -> str:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode != 0
        return done.stderr

    told(("gcloud", "projects", "list"))  # makes the empty configuration
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for command, error in zip(distinct, pool.map(told, distinct), strict=True):
            assert NO_ACCOUNT in error, f"{shlex.join(command)}\n{error}"


@pytest.mark.parametrize("name", ["create.sh", "remove.sh"])
def test_a_dry_run_calls_nothing_and_leaves_nothing(
    script: Script, calls_file: Path, tmp_path: Path, name: str
) -> None:
    before = sorted(tmp_path.rglob("*"))

    assert len(dry_run(script, name)) > 5

    assert not calls_file.exists()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["create.sh", "remove.sh"])
def test_a_dry_run_prints_what_a_run_does(script: Script, calls_file: Path, name: str) -> None:
    flags = ["--yes"] if name == "remove.sh" else []
    printed = dry_run(script, name)
    # create.sh makes what is not there, remove.sh removes what is.
    done = script(name, "--project", PROJECT, *flags, there=name == "remove.sh")
    assert done.returncode == 0, done.stderr

    looks = {"describe", "list"}
    did = [call for call in commands(calls_file.read_text()) if not looks & set(call)]

    for call in printed:  # what only a run can know
        call[:] = [
            "disk-1" if word == "DISK" else word.replace("PROJECT_NUMBER", "1234") for word in call
        ]
    assert printed == did == commands(done.stdout)


def test_creating_again_makes_nothing_twice_and_removing_again_removes_nothing(
    script: Script, calls_file: Path
) -> None:
    assert script("create.sh", "--project", PROJECT, there=True).returncode == 0
    assert script("remove.sh", "--project", PROJECT, "--yes", there=False).returncode == 0

    for call in commands(calls_file.read_text()):
        assert "create" not in call
        assert "delete" not in call or "disks" in call


@pytest.mark.parametrize("flags", [[], ["--on-demand"]])
def test_remove_covers_everything_that_create_makes(script: Script, flags: list[str]) -> None:
    created, removed = dry_run(script, "create.sh", *flags), dry_run(script, "remove.sh")
    deletions = [" ".join(call) for call in removed]

    for call in created:
        if "create" in call:
            verb = call.index("create")
            kind, name = " ".join(call[1:verb]), call[verb + 1]
            if kind == "container node-pools":  # go with their cluster
                kind, name = "container clusters", option(call, "cluster")
            deletion = f"gcloud {kind} delete {name}"
            if kind == "storage buckets":
                deletion = f"gcloud storage rm --recursive {name}"
            assert any(done.startswith(deletion) for done in deletions), deletion
        elif call[1:3] == ["projects", "add-iam-policy-binding"]:
            undone = one(removed, "projects", "remove-iam-policy-binding", option(call, "role"))
            assert option(undone, "member") == option(call, "member")


def test_a_kept_bucket_loses_the_rights_that_create_gave(script: Script) -> None:
    created = dry_run(script, "create.sh")
    removed = dry_run(script, "remove.sh", "--keep-bucket")

    def rights(calls: Calls, verb: str) -> set[tuple[str, str]]:
        return {(option(c, "member"), option(c, "role")) for c in calls if c[1:4] == verb.split()}

    given = rights(created, "storage buckets add-iam-policy-binding")
    assert len(given) == 2
    assert given == rights(removed, "storage buckets remove-iam-policy-binding")
    assert not [call for call in removed if call[1:3] == ["storage", "rm"]]


def test_remove_asks_before_it_removes(script: Script, calls_file: Path) -> None:
    done = script("remove.sh", "--project", PROJECT)  # with no answer

    assert done.returncode == 2
    assert "nothing was removed" in done.stderr
    assert all("describe" in call for call in commands(calls_file.read_text()))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "name the project"),
        (["--project"], "--project needs a value"),
        (["--project", "--dry-run"], "--project needs a value"),
        (["--project", PROJECT, "--gpus", "3"], "--gpus: no such flag"),
        (["--project", PROJECT, "--yes"], "--yes: no such flag"),
        (["--project", PROJECT, "--gpu-nodes", "many"], "GPU_NODES many"),
        (["--project", PROJECT, "--zone", "us-central1"], "zone us-central1"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_called(
    script: Script, calls_file: Path, flags: list[str], told: str
) -> None:
    done = script("create.sh", *flags)

    assert done.returncode == 2
    assert told in done.stderr
    assert not calls_file.exists()


def test_the_help_of_each_script_names_its_settings(script: Script) -> None:
    for name in ("create.sh", "remove.sh"):
        done = script(name, "--help")
        assert done.returncode == 0
        for flag in ("--project", "--zone", "--cluster", "--bucket", "--dry-run"):
            assert flag in done.stdout


def test_what_is_created_fits_the_environment_and_the_manifests(script: Script) -> None:
    environment = Environment.read("gke-gpu")
    assert environment.api
    assert environment.gpu
    created = dry_run(script, "create.sh")
    pool = one(created, "node-pools", "create")

    taints = [taint.partition(":")[0] for taint in option(pool, "node-taints").split(",")]
    tolerated = {f"{toleration.key}" for toleration in environment.gpu.tolerations}
    if environment.gpu.spot:  # placement adds what spot nodes need
        assert "--spot" in pool
        tolerated.add(SPOT)
    assert {taint.partition("=")[0] for taint in taints} == tolerated
    accelerator = dict(part.split("=") for part in option(pool, "accelerator").split(","))
    assert accelerator["type"] in environment.gpu.node_selector.values()
    assert int(accelerator["count"]) >= environment.gpu.count
    assert option(pool, "min-nodes") == "0"

    quota = yaml.safe_load((DEPLOY / "overlays" / "gpu-quota" / "quota.yaml").read_text())
    hard = quota["spec"]["hard"][f"requests.{environment.gpu.resource}"]
    assert int(hard) == int(option(pool, "max-nodes")) * int(accelerator["count"])

    (account,) = [
        manifest["metadata"]["name"]
        for manifest in yaml.safe_load_all((DEPLOY / "base" / "service-account.yaml").read_text())
        if manifest["kind"] == "ServiceAccount"
    ]
    writer = one(created, "add-iam-policy-binding", "roles/storage.objectUser")
    assert option(writer, "member").endswith(f"/ns/{environment.api.namespace}/sa/{account}")


def test_steps_are_tried_again_after_lost_pods_and_failures_alike(script: Script) -> None:
    *_, patch, _ = dry_run(script, "create.sh")

    assert patch[:2] == ["kubectl", "--context"]
    assert patch[5:8] == ["patch", "configmap", "workflow-controller-configmap"]
    file = Path(option(patch, "patch-file"))
    assert file.resolve() == DEPLOY / "kubeflow" / "retries.yaml"
    (text,) = yaml.safe_load(file.read_text())["data"].values()
    # A limit above 0 would try each DAG above a step again, and its steps with it.
    strategy = yaml.safe_load(text)["spec"]["templateDefaults"]["retryStrategy"]
    assert strategy == {"limit": "0", "retryPolicy": "Always"}


def test_artifacts_and_checkpoints_of_the_environment_are_deleted_when_old() -> None:
    environment = Environment.read("gke-gpu")
    rules = json.loads((SCRIPTS / "lifecycle.json").read_text())["rule"]
    prefixes = [prefix for rule in rules for prefix in rule["condition"].get("matchesPrefix", [])]

    for address in (environment.pipeline_root, environment.checkpoint_root):
        assert address
        assert f"{address.removeprefix('gs://').partition('/')[2]}/" in prefixes
    # A rule without a prefix would take published models too.
    assert all(
        "matchesPrefix" in rule["condition"] for rule in rules if rule["action"]["type"] == "Delete"
    )
