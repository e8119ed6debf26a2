"""Bad input: each ends with status 2 (usage) or 1 (failure), one line, and nothing half-written.

Commands run as the shell runs them, through the entry point; steps through their KFP adapters.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb

from genpipe.data.dataset import file_digest
from pipelines.settings import LARGEST_FILE
from tests.components.publish.made_run import MadeRun, write_json

LONG = "a" * 5000
DEEP = "[" * 100_000
DIGITS = "9" * 5000
NO_UTF8 = b"\xff\xfe"
HTML = "<script>alert(1)</script>"
# Nine lists of nine lists ... : gigabytes, written out.
LISTS = "".join(
    f", &{name} [{', '.join([f'*{inner}'] * 9)}]"
    for inner, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB = f"[[&a [x, x, x, x, x, x, x, x, x]{LISTS}]]"

# The command, its exit status, and what the line says.
COMMANDS = [
    ("nonsense", 2, "No such command 'nonsense'"),
    ("run extra", 2, "unexpected extra argument (extra)"),
    ("run --epochs 3", 2, "No such option '--epochs'. Did you mean '--vae-epochs'?"),
    ("run --seed 1.5", 2, "'1.5' is not a valid integer"),
    ("run --seed -1", 2, "parameter seed must lie between 0 and 2,147,483,647, got -1"),
    ("run --vae-epochs 0", 2, "parameter vae.epochs must lie between 1 and"),
    (f"run --dcgan-steps {10**30}", 2, "parameter dcgan.steps must lie between 1 and 100,000,000"),
    ("run --latent-sizes 2,x", 2, "'2,x': give whole numbers separated by commas, e.g. 2,10"),
    ("run --seeds two", 2, "'two': give whole numbers separated by commas, e.g. 0,1,2"),
    ("run --latent-sizes ''", 2, "parameter latent_sizes is empty"),
    ("run --latent-sizes 0", 2, "parameter latent_sizes must lie between 1 and 4096, got 0"),
    ("run --latent-sizes 99999", 2, "latent_sizes must lie between 1 and 4096, got 99999"),
    (f"run --latent-sizes {DIGITS}", 2, "give whole numbers separated by commas"),
    ("run --param latent_sizes=NaN", 2, "parameter latent_sizes must be a whole number, got nan"),
    ("run --param latent_sizes=[[1]]", 2, "latent_sizes must be a whole number, got [1]"),
    ("""run --param 'latent_sizes={"a": 1}'""", 2, "must be a whole number, got {'a': 1}"),
    ("run --param samples=1e3", 2, "parameter samples must be a whole number, got 1000.0"),
    ("run --param channels=2", 2, "parameter channels must be 0, 1 or 3, got 2"),
    ("run --param force_promote=maybe", 2, "force_promote must be true or false, got 'maybe'"),
    ("run --param promotion_margin=x", 2, "promotion_margin must be auto or a share from 0 to 1"),
    ("run --families ''", 2, "families is empty: name at least one of autoencoder, vae, dcgan"),
    ("run --seed 2 --param seed=1", 2, "--seed and --param seed set the same parameter: give one"),
    ("run --vae-epochs 2 --param vae.epochs=1", 2, "--vae-epochs and --param vae.epochs set the"),
    ("run --param vae.beta=1 --param vae.beta=2", 2, "--param vae.beta is given twice"),
    ("""run --param vae.beta=1 --param 'vae={"beta": 2}'""", 2, "vae.beta is given twice"),
    ("run --force", 2, "--force has no effect without --publish-to"),
    ("run --param promotion_margin=0.1", 2, "promotion_margin has no effect without --publish-to"),
    (
        "run --families vae --param dcgan.steps=9",
        2,
        "dcgan.steps has no effect: this run trains only vae (add dcgan to",
    ),
    (
        "run --families vae,dcgan --autoencoder-epochs 9",
        2,
        "--autoencoder-epochs has no effect: this",
    ),
    ("submit --environment local --families vae --param dcgan.steps=9", 2, "dcgan.steps has no"),
    ("run --param hidden_size=9", 2, "autoencoder.hidden_size or vae.hidden_size?"),
    ("run --families vea", 2, "unknown model family 'vea': did you mean vae? (autoencoder, vae, "),
    ("run --param families=3", 2, "unknown model family 3: choose from"),
    ("run --param families=null", 2, "unknown model family None: choose from"),
    ("""run --param 'families=[["vae"]]'""", 2, "unknown model family ['vae']: choose from"),
    ("run --param vae.beta=1e999", 2, "parameter vae.beta must be a finite number, got inf"),
    ("run --param vae.beta=-1", 2, "parameter vae.beta must lie between 0 and 1,000,000, got"),
    (f"run --param seed={DIGITS}", 2, "parameter seed must be a whole number"),
    (f"run --param samples={DEEP}", 2, "parameter samples must be a whole number"),
    ("run --param nothing", 2, "--param 'nothing': write NAME=VALUE"),
    ("run --param vae_epoch=3", 2, "unknown parameter 'vae_epoch': did you mean vae.epochs?"),
    ("run --param vae.epoch=3", 2, "unknown parameter vae.epoch: did you mean vae.epochs?"),
    ("run --param vae=3", 2, "parameter vae=3: write vae.SETTING, or a mapping of settings"),
    ("run --param vae.precision=float32", 2, "is set for all families (--param precision=float32)"),
    (
        "run --source http://x/y",
        2,
        "http:// addresses are not supported here: give a local folder or",
    ),
    ("run --source S3://b", 2, "parameter source='S3://b': write s3:// in lower case"),
    ("run --source whel", 2, "neither a known source (auto, tfds, wheel) nor an existing folder"),
    ("run --publish-to gs:/b/x", 2, "a bucket address starts with gs:// (two slashes)"),
    (
        "run --publish-to s3://b",
        2,
        "s3:// addresses are not supported here: give a local folder or",
    ),
    ("run --source gs://", 2, "'gs://' names no bucket: write gs://bucket/prefix"),
    ("run --source /dev/null", 1, "source: there is nothing at /dev/null: check the address"),
    ("run --source ~no-such-user/x", 2, "there is no such user"),
    (f"run --source {LONG}", 1, "File name too long"),
    ("run --source '\udcff'", 2, r"parameter source must be text in UTF-8, got '\udcff'"),
    ("run --publish-to 'a\nb'", 2, "it holds control characters"),
    ("run --name ''", 2, "run name '': use letters, digits"),
    ("run --name ../x", 2, "run name '../x': use letters, digits"),
    (f"run --name '{HTML}'", 2, f"run name '{HTML}': use letters, digits"),
    ("run --name '\udcff'", 2, r"run name '\udcff': use letters, digits"),
    (f"run --name {LONG}", 2, "at most 63, and begin with a letter or a digit"),
    (
        "run --runs /dev/null --name x",
        1,
        "the run's folder /dev/null/x can't be made: Not a directory",
    ),
    ("run --runner docker", 2, "--runner docker needs --image NAME"),
    ("run --image x:1", 2, "--image needs --runner docker"),
    ("run --runner docker --image x", 2, "give the image an explicit tag other than latest"),
    ("run --quick --name taken", 2, "run 'taken' already exists in runs/: choose another --name"),
    ("submit", 2, "Missing option '--environment'"),
    ("submit --environment cluster-cpu --vae-epochs 0", 2, "vae.epochs must lie between 1 and"),
    ("compile --environment local --output p.yaml --seeds 1 --param seeds=2", 2, "give one"),
    ("submit --environment none", 2, "there is no environment none: use one of cluster-cpu, gke"),
    ("submit --environment locl", 2, "there is no environment locl: did you mean local?"),
    ("submit --environment .", 2, "cannot read environment .: Is a directory"),
    (f"submit --environment {LONG}", 2, "File name too long"),
    ("submit --environment /dev/zero", 2, "it is larger than 1,048,576 bytes"),
    ("submit --environment local", 2, "'local' is this machine, not a cluster: use `genpipe run`"),
    ("submit --environment cluster-cpu --timeout 3", 2, "--timeout requires --wait"),
    ("submit --environment cluster-cpu --tag 'a b'", 2, "--tag 'a b' is not a valid image tag"),
    ("submit --environment cluster-cpu --tag ''", 2, "--tag '' is not a valid image tag"),
    ("submit --environment cluster-cpu --tag latest", 2, "--tag latest is not allowed, because"),
    ("submit --environment cluster-cpu --name 'a b'", 2, "run name 'a b': use letters, digits"),
    ("submit --environment gke-gpu", 2, "gke-gpu: pipeline_root still has the placeholder BUCKET"),
    ("runs --environment cluster-cpu --limit 0", 2, "0 is not in the range x>=1"),
    ("compile --environment local --output x.txt", 2, "x.txt: name a .yaml file to write"),
    ("compile --environment local --output /dev/null/x.yaml", 1, "cannot write /dev/null/x.yaml"),
    ("schedule apply none.yaml", 2, "Path 'none.yaml' does not exist"),
    ("schedule apply runs", 2, "runs: no schedules (*.yaml) in this folder"),
    ("leaderboard none", 2, "no run 'none' here or in runs"),
    ("leaderboard ../../etc", 2, "no run '../../etc' here or in runs"),
    (f"leaderboard {LONG}", 1, "File name too long"),
    ("artifacts list none", 2, "no run 'none' here or in runs"),
    ("artifacts list '\udcff'", 2, r"no run '\udcff' here or in runs"),
    (f"artifacts list {LONG}", 1, "File name too long"),
    ("artifacts list http://host/x", 2, "only gs://, s3:// and minio:// can be read here"),
    ("artifacts pull taken nothing --output out", 2, "no step 'nothing' in this run"),
    ("artifacts pull linked --output out", 1, "is a symlink that points outside"),
    ("report /", 2, "/ is not a run's folder: it has no finished steps of a run"),
    ("report torn", 2, "run torn has nothing to show yet: its logs are in runs/torn/logs"),
    ("sample taken vae-2 --output x.jpg", 2, "--output 'x.jpg': use .png for one picture, .npy"),
    ("encode taken vae-2 torn.json --output x.json", 2, "--output 'x.json': use .csv or .npy"),
    ("reconstruct taken vae-2 shelf --output ./shelf", 2, "--output is the folder the images are"),
    ("sample damaged vae-2 --output x.png", 2, "the model of vae-2 in run damaged can't be read"),
    (
        "train --family vae --latent-size 2 --data gs://x/y",
        2,
        "takes a local folder, got 'gs://x/y'",
    ),
    ("train --family vae --latent-size 2 --data nope", 2, "nope does not exist: give a run's"),
    ("train --family vae --latent-size 2 --data . --name 'a b'", 2, "run name 'a b': use"),
    ("train --family dcgan --latent-size 2 --data . --beta 2", 2, "--beta does not apply to dcgan"),
    ("run --publish-to torn.json", 1, "torn.json is a file, not a folder"),
    ("champions list none", 2, "none: the folder does not exist"),
    ("champions list runs", 2, "runs: nothing has been published there yet"),
    (
        "sample taken dcgan --output x.png",
        2,
        "this run did not train dcgan: it trained nothing yet",
    ),
    ("sample shelf dcgan --output x.png", 2, "registry shelf has no dcgan champion (it has vae)"),
    (
        "sample shelf vae-2 --output x.png",
        2,
        "shelf is a registry: name a family (vae), not a cell",
    ),
    ("encode taken vae-2 nope.png", 2, "nope.png does not exist"),
    ("champions history runs gan", 2, "unknown model family 'gan'"),
    ("champions rollback shelf vae ../../x", 2, "'../../x' was never champion of vae"),
    ("wandb sync taken", 2, "set WANDB_API_KEY, or run `wandb login`"),
]

# What a settings file holds, and what the line says after the file's name.
ENVIRONMENT = "name: mine\nimages: {cpu: 'genpipe:1'}\n"
ENVIRONMENTS = {
    "empty": ("", "bad.yaml is empty"),
    "no UTF-8": (NO_UTF8, "bad.yaml is not a text file"),
    "binary": (b"\x00\x01", "bad.yaml is not a text file"),
    "torn": ("name: [", "bad.yaml, line 1, column 8: invalid YAML: expected the node content"),
    "deep": (DEEP, "bad.yaml: invalid YAML: it is nested too deep"),
    "a list": ("[]", "bad.yaml is not an environment: it must be YAML of the form `name: ..."),
    "twice": (f"{ENVIRONMENT}name: x", "bad.yaml, line 3, column 1: name is given twice"),
    "large": ("#" * (LARGEST_FILE + 1), "it is larger than 1,048,576 bytes"),
    "bomb": (f"name: {BOMB}", "name must be text, got [[["),
    "unknown": (f"{ENVIRONMENT}parallel: 3", "parallel: unknown field: did you mean parallelism?"),
    "no mapping": (f"{ENVIRONMENT}parameters: 3", "parameters must be a mapping, e.g. {latent_si"),
    "recursive": ("&a {name: *a}", "name must be text, got {"),
    "code": (
        "!!python/object/apply:os.system [id]",
        "invalid YAML: could not determine a constructor",
    ),
    "no date": (
        f"{ENVIRONMENT}experiment: 2026-99-99",
        "bad.yaml: invalid YAML: month",
    ),
    "no number": ("name: !!int x", "bad.yaml: invalid YAML"),
    "no truth": ("name: !!bool x", "bad.yaml: invalid YAML"),
    "NaN": (f"{ENVIRONMENT}retries: {{factor: .nan}}", "retries.factor must lie between 1 and 10"),
    "infinity": (f"{ENVIRONMENT}ttl_seconds: .inf", "ttl_seconds must be a whole number, got"),
    "negative": (f"{ENVIRONMENT}parallelism: -1", "parallelism must lie between 1 and 1000"),
    "huge": (f"{ENVIRONMENT}ttl_seconds: 0x{'f' * 5000}", "got a number of too many digits"),
    "HTML": (f"name: '{HTML}'\nimages: {{cpu: 'g:1'}}", "name: use lower-case letters, digits"),
    "NUL": ('name: "a\\0b"\nimages: {cpu: "g:1"}', "name: use lower-case letters, digits"),
    "space in an image": (
        "name: a\nimages: {cpu: 'a b:1'}",
        "an image name has no spaces; got 'a b:1'",
    ),
    "address": (f"{ENVIRONMENT}api: {{host: 'http://[::1', namespace: a}}", "not the address of a"),
    "port": (f"{ENVIRONMENT}api: {{host: 'http://h:99999', namespace: a}}", "not the address of a"),
    "too long": (f"{ENVIRONMENT}experiment: {LONG}", "experiment must have at most 128 characters"),
}
SCHEDULE = "name: weekly\ncron: '@weekly'\n"
SCHEDULES = {
    "bomb": (f"{SCHEDULE}parameters: {{source: {BOMB}}}", "parameter source must be text, got [[["),
    "bombs": (f"{SCHEDULE}parameters: {{families: {BOMB}}}", "unknown model family [["),
    "itself": (
        f"{SCHEDULE}parameters: {{latent_sizes: &a [*a]}}",
        "latent_sizes must be a whole number",
    ),
    "a name": (f"{SCHEDULE}parameters: {{3: 4}}", "unknown parameter 3: `genpipe parameters`"),
    "NUL": (f'{SCHEDULE}parameters: {{source: "/a\\0b"}}', "it holds control characters"),
    "no date": (f"{SCHEDULE}x: 2026-99-99", "bad.yaml: invalid YAML: month"),
    "no cron": ("name: a\ncron: 5", "cron must be text, got 5"),
    "digits": ("name: a\ncron: '\u0663 * * * *'", "cron: minute '\u0663': write *, */2, 5"),
    "many digits": (f"name: a\ncron: '{DIGITS} * * * *'", "write *, */2, 5, 1-5"),
    "no day": ("name: a\ncron: '0 0 30 2 *'", "cron: it would never run, because no such date"),
    "no hour": ("name: a\ncron: '0 25 * * 0'", "cron: hour 25 is out of range (0-23)"),
    "a field": (f"{SCHEDULE}timezone: UTC", "timezone: unknown field: did you mean time_zone?"),
    "a path": (f"{SCHEDULE}time_zone: ../../etc/passwd", "time_zone: unknown time zone"),
    "a folder": (f"{SCHEDULE}time_zone: Europe", "time_zone: unknown time zone: write UTC"),
    "infinity": (f"{SCHEDULE}max_concurrency: .inf", "max_concurrency must be a whole number"),
}

# What leaderboard.json holds, and what is said of it.
ROW = '{"family": "vae", "latent_size": 2, "status": "complete", "metrics": %s}'
BOARD = '{"run": "r", "cells": [%s], "best": {}}'
LEADERBOARDS = {
    "empty": ("", "Invalid JSON: EOF"),
    "torn": ("{", "Invalid JSON: EOF"),
    "no UTF-8": (NO_UTF8, "Invalid JSON"),
    "deep": (DEEP, "Invalid JSON: recursion limit exceeded"),
    "a list": ("[]", "must be a mapping"),
    "no cells": ("{}", "run is missing"),
    "HTML": (BOARD % ROW.replace("vae", HTML) % "{}", "cells.0.family: unknown model family"),
    "a word": (BOARD % ROW % '{"elbo": "x"}', "cells.0.metrics.elbo"),
    "a path": (BOARD % ROW.replace('"complete"', '"../x"') % "{}", "cells.0.status"),
}

DECISION = {
    "id": "20261123-041502-123456-3f2a9c1b",
    "champion": "20261123-041502-123456-3f2a9c1b",
    "family": "vae",
    "latent_size": 2,
    "run": "r",
    "model": "m",
    "data": "d",
    "outcome": "first",
    "reason": "none before",
    "comparison": None,
}
COMPARISON = {
    "metric": "elbo",
    "champion": 1.0,
    "challenger": 2.0,
    "improvement": 1.0,
    "low": 0.5,
    "high": 1.5,
    "images": 300,
}
# What of a champion.json is another, or all of it.
POINTERS: dict[str, tuple[Any, str]] = {
    "empty": (b"", "Expecting value"),
    "no UTF-8": (NO_UTF8, "can't decode byte 0xff"),
    "deep": (DEEP.encode(), "it is nested too deep"),
    "a list": (b"[]", "it must be an object, found list"),
    "a name too many": ({"x": 1}, "its fields are not those of a decision"),
    "a path": ({"champion": "../../x"}, "'../../x' names neither a version nor a decision"),
    "no time": ({"id": "20269999-999999-123456-3f2a9c1b"}, "does not match format"),
    "a size": ({"latent_size": "x"}, "latent size must be a whole number, got 'x'"),
    "a run": ({"run": 3}, "3 is not text"),
    "figures": ({"comparison": {**COMPARISON, "low": None}}, "values that are not numbers"),
    "a metric": ({"comparison": {**COMPARISON, "metric": HTML}}, "values that are not numbers"),
}

# Environment variables, and the command that reads them.
VARIABLES = [
    (
        "DOCKER_HOST",
        "nonsense",
        "run --runner docker --image x:1",
        2,
        "at nonsense: start Docker or Podman",
    ),
    ("STORAGE_EMULATOR_HOST", "nonsense", "run --publish-to gs://b", 1, "cannot reach nonsense"),
    ("STORAGE_EMULATOR_HOST", "http://h:99999", "champions list gs://b", 1, "cannot reach http"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "/no/key", "champions list gs://b", 1, "is /no/key, which"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "torn.json", "champions list gs://b", 1, "can't be used"),
    ("GOOGLE_APPLICATION_CREDENTIALS", ".", "champions list gs://b", 1, "Is a directory"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "list.json", "champions list gs://b", 1, "something else"),
    ("AWS_ENDPOINT_URL", "nonsense", "artifacts list s3://b/x", 2, "Invalid endpoint: nonsense"),
    ("AWS_PROFILE", "nobody", "artifacts list s3://b/x", 1, "profile (nobody) could not be found"),
    ("WANDB_BASE_URL", "nonsense", "wandb sync taken", 2, "WANDB_BASE_URL"),
    ("WANDB_PROJECT", "team/mnist", "run --quick", 2, "WANDB_PROJECT is 'team/mnist': none of / "),
    ("WANDB_MODE", "on", "run --quick", 2, "WANDB_MODE is 'on'"),
    ("WANDB_ENTITY", "a b", "run --quick", 2, "WANDB_ENTITY is 'a b'"),
    ("GENPIPE_TOKEN", "a\nb", "runs --environment cluster.yaml", 2, "no HTTP header can"),
]

Genpipe = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in: a run, one with a link out of it, and a champion."""
    for name in (*os.environ,):
        if name.startswith(("WANDB_", "AWS_", "GOOGLE_", "GENPIPE_", "STORAGE_", "DOCKER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-such-folder"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    wandb.teardown()  # a process reads W&B's settings once
    folder = tmp_path / "ground"
    write_json(folder / "runs" / "taken" / "train-vae-2" / "metrics", {})
    write_json(folder / "runs" / "linked" / "train-vae-2" / "metrics", {})
    (tmp_path / "secret").write_text("secret")
    (folder / "runs" / "linked" / "train-vae-2" / "model").symlink_to(tmp_path / "secret")
    write_json(folder / "runs" / "torn" / "arguments.json", {})
    write_json(folder / "runs" / "damaged" / "train-autoencoder-2" / "metrics", {})
    (folder / "runs" / "damaged" / "train-vae-2" / "model").mkdir(parents=True)
    (folder / "runs" / "damaged" / "train-vae-2" / "model" / "model.json").write_text("{")
    write_json(folder / "shelf" / "vae" / "champion.json", DECISION)
    (folder / "torn.json").write_text("{")
    (folder / "list.json").write_text("[]")
    api = {"host": "http://127.0.0.1:9", "namespace": "team", "authentication": "token"}
    environment = {"name": "mine", "images": {"cpu": "genpipe:1"}, "api": api}
    write_json(folder / "cluster.yaml", environment)
    monkeypatch.chdir(folder)
    return folder


def left_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"/"
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(ground: Path, genpipe: Genpipe) -> Callable[..., str]:
    """Run a command that is refused; returns the line on it, which is the only one."""

    def run(command: str, status: int) -> str:
        before = left_in(ground)
        found, _, errors = genpipe(*shlex.split(command))
        *usage, line = errors.splitlines()
        assert found == status, errors
        assert line.startswith("error: " if not usage else "Error: ")
        assert not usage or usage[0].startswith("Usage: genpipe")  # click's hint
        assert len(line) < 1500
        assert left_in(ground) == before
        return line

    return run


def shortened(value: Any) -> str:
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) < 60 else f"{text[:40]}..."


@pytest.mark.parametrize(("command", "status", "told"), COMMANDS, ids=shortened)
def test_a_bad_command(command: str, status: int, told: str, refused: Callable[..., str]) -> None:
    assert told in refused(command, status)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_bad_environment(kind: str, ground: Path, refused: Callable[..., str]) -> None:
    content, told = ENVIRONMENTS[kind]
    write(ground / "bad.yaml", content)

    line = refused("submit --environment bad.yaml", 2)

    assert line.startswith("error: bad.yaml")
    assert told in line


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_bad_schedule(kind: str, ground: Path, refused: Callable[..., str]) -> None:
    content, told = SCHEDULES[kind]
    write(ground / "bad.yaml", content)

    line = refused("schedule apply bad.yaml --environment cluster-cpu", 2)

    assert line.startswith("error: bad.yaml: ")
    assert told in line


@pytest.mark.parametrize("kind", LEADERBOARDS)
def test_a_bad_leaderboard(kind: str, ground: Path, refused: Callable[..., str]) -> None:
    content, told = LEADERBOARDS[kind]
    write(ground / "runs" / "bad" / "leaderboard.json", content)

    line = refused("leaderboard bad", 2)

    assert line.startswith("error: runs/bad/leaderboard.json is not a leaderboard: ")
    assert told in line


@pytest.mark.parametrize("kind", POINTERS)
@pytest.mark.parametrize("command", ["list bad", "history bad", "rollback bad vae"])
def test_a_bad_champion(kind: str, command: str, ground: Path, refused: Callable[..., str]) -> None:
    content, told = POINTERS[kind]
    if isinstance(content, dict):
        content = json.dumps({**DECISION, **content}).encode()
    write(ground / "bad" / "vae" / "champion.json", content)

    line = refused(f"champions {command}", 1)

    assert "cannot read the champion record" in line
    assert "bad/vae/champion.json (" in line
    assert told in line


@pytest.mark.parametrize(("name", "value", "command", "status", "told"), VARIABLES)
def test_a_bad_variable(
    name: str,
    value: str,
    command: str,
    status: int,
    told: str,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv(name, value)

    assert told in refused(command, status)


@pytest.mark.parametrize(
    "content", ["", DEEP, f'{{"x": 1{"0" * 400}}}', '{"family": [], "status": NaN}'], ids=shortened
)
def test_damaged_files_of_a_step_hide_nothing_else(
    content: str, ground: Path, genpipe: Genpipe
) -> None:
    """A listing shows what there is; what it can't read it leaves out."""
    for name in ("model/model.json", "metrics"):
        write(ground / "runs" / "bad" / "train-vae-2" / name, content)

    status, shown, errors = genpipe("artifacts", "list", "bad")

    assert (status, errors) == (0, "")
    assert "train-vae-2" in shown


def test_markup_in_names_is_shown_as_it_is(ground: Path, genpipe: Genpipe) -> None:
    write(ground / "runs" / "[bold]x" / "train-vae-2" / "metrics", '{"[/red]": 3}')
    write(ground / "runs" / "[bold]x" / "leaderboard.json", BOARD.replace('"r"', '"[/x]"') % "")

    assert "[bold]x" in genpipe("artifacts", "list", "[bold]x")[1]
    assert "[/red] 3" in genpipe("artifacts", "list", "[bold]x")[1]
    assert "Leaderboard of [/x]" in genpipe("leaderboard", "[bold]x")[1]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_the_terminal_can_not_show_is_no_failure(ground: Path, encoding: str) -> None:
    write(ground / "runs" / "bad" / "leaderboard.json", BOARD.replace('"r"', '"\u00e9"') % "")
    command = [str(Path(sys.executable).with_name("genpipe")), "leaderboard", "bad"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}

    done = subprocess.run(command, env=environment, capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"of \\xe9" in done.stdout) is (encoding == "ascii")


def make_shelf(shelf: Path) -> None:
    """A champion that took the place of another, which may be put back."""
    first = str(DECISION["id"])
    second = first.replace("041502", "051502")
    now = {**DECISION, "id": second, "champion": second, "previous": first, "outcome": "promoted"}
    write_json(shelf / "vae" / "champion.json", now)
    write_json(shelf / "vae" / "decisions" / f"{first}.json", DECISION)
    write_json(shelf / "vae" / "decisions" / f"{second}.json", now)
    write_json(shelf / "vae" / "versions" / first / "version.json", {})


# A disk that is full, one that can't be written to, and what is told where.


@pytest.fixture(params=["No space left on device", "Read-only file system"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder on a disk that takes no file, and what the system says of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    full = request.param.startswith("No space")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    make_shelf(folder / "shelf")
    with (folder / "filler").open("wb", buffering=0) as filler:
        while full:
            try:
                filler.write(bytes(4096))
            except OSError:
                break
    if not full:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield folder, request.param
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "command",
    [
        "compile --environment local --output DISK/x.yaml",
        "run --quick --runs DISK",
        "artifacts pull taken --output DISK/out",
        "champions rollback DISK/shelf vae",
    ],
)
def test_a_disk_that_takes_nothing(
    command: str, disk: tuple[Path, str], refused: Callable[..., str], ground: Path
) -> None:
    folder, reason = disk
    write(ground / "runs" / "taken" / "train-vae-2" / "model", bytes(100))
    before = left_in(folder)

    line = refused(command.replace("DISK", str(folder)), 1)

    assert reason in line
    after = left_in(folder)
    after.pop("shelf/vae/.champion.json.lock", None)  # it stays, empty
    assert {name for name in after if after[name] != b"/"} <= before.keys()
    assert {name: after[name] for name in before} == before


# Only writing shows that a disk is full: `test_a_step_on_a_full_disk`.
@pytest.mark.parametrize("disk", ["Read-only file system"], indirect=True)
def test_a_target_that_can_not_be_written_is_told_before_a_run(
    disk: tuple[Path, str], refused: Callable[..., str]
) -> None:
    folder, _ = disk

    line = refused(f"run --quick --publish-to {folder}/shelf", 1)

    assert f"publish_to: cannot write to {folder}/shelf" in line


# A port where another program listens than the API.


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>another program</html>")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["a web page", "noise", "silence"])
def other_program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a program that is no API: it serves a page, noise, or nothing."""
    monkeypatch.setattr("pipelines.cluster.api.READ_SECONDS", 0.3)
    monkeypatch.setattr("pipelines.cluster.api.BACKOFF_SECONDS", 0.01)
    if request.param == "a web page":
        with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
            threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            held = []
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return
                if request.param == "noise":
                    held[-1].sendall(b"SSH-2.0-another program\r\n")
                    held[-1].close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_another_program_at_the_port_of_the_api(
    other_program: str, ground: Path, refused: Callable[..., str]
) -> None:
    api = {"host": other_program, "namespace": "team"}
    environment = {"name": "mine", "images": {"cpu": "genpipe:1"}, "api": api}
    write_json(ground / "other.yaml", environment)

    assert other_program in refused("runs --environment other.yaml", 1)


# What steps read of other steps, of their surroundings and of the pipeline's arguments.

CARD = {"family": "vae", "latent_size": 10, "status": "complete", "weights_digest": "w"}
FOUND = {"data": {"digest": "DIGEST"}, "files": {"encoder.onnx": "FILE"}}

# The step, the file, what it holds in place of what it should, and what is told.
ARTIFACTS: list[tuple[str, str, Any, str]] = [
    ("evaluate", "data/dataset.json", b"", "data/dataset.json can't be read"),
    ("evaluate", "data/dataset.json", DEEP.encode(), "it is nested too deep"),
    ("evaluate", "data/dataset.json", [], "it must be an object, found list"),
    ("evaluate", "data/test_images.npy", b"", "test_images.npy was altered or is incomplete"),
    ("evaluate", "vae-10/model/model.json", b"", "model.json is not a model description"),
    ("evaluate", "vae-10/model/model.json", NO_UTF8, "model.json is not a model description"),
    ("evaluate", "vae-10/model/model.json", DEEP.encode(), "it is nested too deep"),
    ("evaluate", "vae-10/model/model.json", {**CARD, "data": 3}, "'data' must be an object"),
    ("evaluate", "vae-10/model/model.json", {**CARD, "status": "x"}, "'x' is not a valid Status"),
    ("evaluate", "vae-10/model/model.json", {**CARD, "family": HTML}, "unknown model family '<scr"),
    ("evaluate", "vae-10/model/model.json", {**CARD, "latent_size": "2"}, "must be a whole number"),
    ("evaluate", "vae-10/model/model.json", CARD, "was trained on data None, but"),
    (
        "evaluate",
        "vae-10/model/model.json",
        {**CARD, **FOUND},
        "found no such file, expected checksum FILE",
    ),
    ("evaluate", "vae-10/model/encoder.onnx", b"", "encoder.onnx can't be used ("),
    ("evaluate", "vae-10/model/encoder.onnx", b"PK\x03\x04", "encoder.onnx can't be used ("),
    ("sample", "judge/model.json", {**CARD}, "contains a 'vae' model, but a judge"),
    ("compare", "data/dataset.json", b"{", "can't read"),
    ("compare", "data/dataset.json", {"splits": {"test": 3}}, "names no sizes of its splits"),
    ("compare", "judge/model.json", {"metrics": []}, "'metrics' must be an object"),
    ("compare", "vae-10/evaluation/metrics.json", NO_UTF8, "can't read"),
    ("compare", "vae-10/evaluation/metrics.json", {"family": "vae"}, "does not say its 'latent_"),
    ("compare", "vae-10/evaluation/metrics.json", {**CARD, "metrics": [1]}, "must be an object"),
    ("compare", "vae-10/model/model.json", {**CARD, "latent_size": -1}, "must be at least 1"),
    ("compare", "vae-10/model/model.json", {**CARD, "data": {"digest": "x"}}, "was trained on the"),
    (
        "publish",
        "leaderboard/leaderboard.json",
        b"",
        "leaderboard/leaderboard.json, which an earlier step",
    ),
    ("publish", "leaderboard/leaderboard.json", {"cells": 3}, "leaderboard.json is malformed"),
    ("publish", "leaderboard/leaderboard.json", {"best": {"vae": 9}}, "leaderboard.json is malf"),
    ("publish", "vae-10/model/model.json", b"{", "vae-10/model/model.json, which an earlier"),
    ("publish", "vae-10/model/model.json", {**CARD, "family": "gan"}, "received no model artifact"),
    ("publish", "report", None, "cannot read"),
    ("publish", "vae-10/samples/x", "link", "is a symlink that points outside"),
    ("publish", "shelf/vae/champion.json", b"{}", "cannot read the champion record"),
]


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), uri="", metadata={})


def run_step(step: str, root: Path, **parameters: Any) -> None:
    """Run a step's adapter over the folders of a made run, as KFP does."""
    cell = root / "vae-10"
    data, judge, model = (artifact(at) for at in (root / "data", root / "judge", cell / "model"))
    out = {
        name: artifact(root / "out" / name)
        for name in (
            "model",
            "evaluation",
            "samples",
            "leaderboard",
            "published",
            "report",
            "explorer",
        )
    }
    cells = {f"{kind}s": [artifact(cell / kind)] for kind in ("model", "evaluation")}
    cells["samples"] = [artifact(cell / "samples")]
    given = {
        "train": {"data": data, "cell": "vae-10"},
        "evaluate": {"data": data, "model": model},
        "sample": {"data": data, "judge": judge, "model": model},
        "compare": {
            "data": data,
            "judge": judge,
            "cells": ["vae-10"],
            **cells,
        },
        "publish": {
            "data": data,
            "judge": judge,
            "leaderboard": artifact(root / "leaderboard"),
            "compared": artifact(root / "report"),
            "target": str(root / "shelf"),
            **cells,
        },
    }[step]
    adapter = importlib.import_module(f"components.{step}.component")
    function = getattr(adapter, step).python_func
    outputs = {
        name: out.get(name) or artifact(root / "out" / name)
        for name in inspect.signature(function).parameters
        if name in out.keys() - given.keys() or name in ("metrics", "wandb_run")
    }
    function(**{**outputs, **given, **parameters})


@pytest.fixture
def failed(
    ground: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a step that is refused; returns the line on it, which is the only one."""
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def run(step: str, root: Path, **parameters: Any) -> str:
        with pytest.raises(SystemExit) as end:
            run_step(step, root, **parameters)
        printed = capsys.readouterr()
        assert (end.value.code, printed.err) == (1, "")
        line, last = printed.out.splitlines()
        assert line.startswith("error: ")
        assert ": failed after" in last
        out = root / "out"
        left = {path.name for path in out.rglob("*") if path.is_file()}
        assert not left & {"metrics.json", "leaderboard.json", "model.json", "report", "published"}
        return line

    return run


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folders of a run with one VAE."""
    return MadeRun(tmp_path, "made", {"vae": 30.0}).root


@pytest.mark.parametrize(("step", "file", "content", "told"), ARTIFACTS, ids=shortened)
def test_a_bad_artifact(
    step: str, file: str, content: Any, told: str, made: Path, failed: Callable[..., str]
) -> None:
    digest = json.loads((made / "data" / "dataset.json").read_text())["digest"]
    path, model = made / file, made / "vae-10" / "model" / "model.json"
    if content is None:
        path.unlink()
    elif content == "link":
        path.symlink_to("/etc/hostname")
    elif isinstance(content, bytes):
        write(path, content)
    else:
        path.write_text(json.dumps(content).replace("DIGEST", digest))
    if step in ("evaluate", "sample") and path != model:
        # Whoever can write a file of a model can write its digest too.
        files = {path.name: file_digest(path)} if file.endswith(".onnx") else {}
        write_json(model, {**CARD, "data": {"digest": digest}, "files": files})
    before = left_in(made / "shelf")

    assert told in failed(step, made)
    assert left_in(made / "shelf") == before


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"cell": "vae-0"}, "latent size must be at least 1, got 0"),
        ({"cell": "vae-2.5"}, "write a family and a latent size, such as vae-10"),
        ({"cell": "vae-5000"}, "latent_size must lie between 1 and 4096, got 5000"),
        ({"cell": "vae-10 beta=NaN"}, "beta must be a number, got nan"),
        ({"cell": f"vae-10 epochs={10**30}"}, "epochs must lie between 1 and 100,000"),
        ({"cell": f"vae-10 epochs={DIGITS}"}, "epochs must be a number"),
        ({"cell": HTML}, "write a family and a latent size, such as vae-10"),
        ({"precision": HTML}, "precision must be one of auto, float32, bfloat16"),
    ],
    ids=shortened,
)
def test_a_bad_argument_of_a_step(
    parameters: Mapping[str, Any], told: str, made: Path, failed: Callable[..., str]
) -> None:
    assert told in failed("train", made, **parameters)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WANDB_MODE", "onlin", "WANDB_MODE is 'onlin': use online, offline or disabled"),
        ("WANDB_MODE", "shared", "WANDB_MODE is 'shared': use online, offline or disabled"),
        ("WANDB_MODE", "online", "W&B's mode is online and there is no key for https://"),
        ("WANDB_API_KEY", "short", "WANDB_API_KEY invalid: API key must have 40+ characters"),
        ("WANDB_PROJECT", "team/mnist", "WANDB_PROJECT is 'team/mnist': none of /"),
        ("WANDB_ENTITY", "a/b", "WANDB_ENTITY is 'a/b': give a W&B user or team name"),
        (
            "WANDB_BASE_URL",
            "here",
            "WANDB_BASE_URL is 'here': give a full address such as https://api",
        ),
        ("WANDB_FINISH_TIMEOUT", "soon", "WANDB_FINISH_TIMEOUT is 'soon': Input should be a"),
        ("WANDB_FINISH_TIMEOUT", "nan", "WANDB_FINISH_TIMEOUT is nan: give seconds, as 20"),
        ("WANDB_FINISH_TIMEOUT", "-1", "WANDB_FINISH_TIMEOUT is -1: give seconds, as 20"),
        ("WANDB_FINISH_TIMEOUT", "1e999", "WANDB_FINISH_TIMEOUT is inf: give seconds, as 20"),
        ("GENPIPE_LOGS", "/dev/null/logs", "can't write to /dev/null/logs: Not a directory"),
        ("GENPIPE_CHECKPOINT_SECONDS", "-5", "must be a number above 0, got '-5'"),
        ("GENPIPE_CHECKPOINTS", "gs://", "names no bucket"),
    ],
)
def test_a_bad_variable_of_a_step(
    name: str,
    value: str,
    told: str,
    made: Path,
    failed: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "group")
    monkeypatch.setenv("GENPIPE_CHECKPOINTS", "/tmp")
    if name in ("WANDB_API_KEY", "WANDB_FINISH_TIMEOUT"):
        monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv(name, value)

    assert told in failed("train", made)


def test_ingest_on_a_full_disk(disk: tuple[Path, str], tmp_path: Path) -> None:
    """In a process of its own: writing through a memory map would end it by a signal."""
    folder, reason = disk
    np.savez(
        tmp_path / "own.npz",
        images=np.random.default_rng(0).integers(0, 256, (3000, 8, 8), np.uint8),
        labels=np.arange(3000) % 3,
    )
    program = (
        "import sys; from pathlib import Path; from components.ingest.ingest import ingest;"
        "from genpipe.tracking import Tracker;"
        "ingest('own', sys.argv[1], Path(sys.argv[2]), cache=Path('cache'), tracker=Tracker())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "own.npz"), str(folder / "data")]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 1
    assert "StepError: cannot write" in done.stderr.splitlines()[-1]
    assert reason in done.stderr.splitlines()[-1]
    assert not [path for path in folder.iterdir() if path.name.startswith(("data", ".data"))]


def test_a_step_on_a_full_disk(
    made: Path, disk: tuple[Path, str], failed: Callable[..., str]
) -> None:
    folder, reason = disk
    before = left_in(folder)

    line = failed("publish", made, target=str(folder / "new"))

    assert reason in line
    assert {name for name in left_in(folder) if (folder / name).is_file()} == {
        name for name in before if (folder / name).is_file()
    }
