"""Runs that steps left offline are sent later: real ones, to a stand-in for W&B."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from genpipe import storage
from genpipe.tracking.run_log import read_run
from genpipe.tracking.step import run_id
from tests.genpipe.tracking.fake_wandb import FakeWandb, fake_wandb
from tests.genpipe.tracking.tracked_step import DRAWN, GROUP, LOGGING, environment, run

GENPIPE = Path(sys.executable).with_name("genpipe")
RUN_ID = "0b1c2d3e-1111-4222-8333-444455556666"
KEY = "notakey" * 6
STEP = run_id(GROUP, "train-vae-10")
# What the step of ``made`` logs as artifacts: two tables, what it reads and what it makes.
ARTIFACTS = {"mnist", "vae-10", f"run-{STEP}-leaderboard", f"run-{STEP}-latentcodes_table"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a step that logged one of everything, offline, away from its place."""
    step = run(tmp_path_factory.mktemp("made"), LOGGING + DRAWN, WANDB_RUN_GROUP=GROUP)
    assert (step.status, "W&B" in step.out) == (0, False)
    return (step.root / "step").rename(step.root / "away")


@pytest.fixture
def local_run(made: Path, tmp_path: Path) -> Path:
    """A run's folder, with what the step logged copied to it."""
    folder = tmp_path / "runs" / "mine"
    shutil.copytree(made / "wandb_run" / "wandb", folder / "wandb")
    return folder


@pytest.fixture
def server() -> Iterator[FakeWandb]:
    with fake_wandb() as server:
        yield server


class Syncs:
    """``genpipe wandb sync``, with an empty home and W&B's settings in its file."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.kept = {"WANDB_API_KEY": KEY}
        settings = root / "home" / ".config" / "wandb" / "settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"[default]\nbase_url = {url}\n")

    def __call__(self, run: object, *options: str, **variables: str) -> tuple[int, str]:
        stores = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        done = subprocess.run(
            [GENPIPE, "wandb", "sync", str(run), *options],
            env=environment(self.root, **stores, **{**self.kept, **variables}),
            cwd=self.root,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr + done.stdout


@pytest.fixture
def syncs(server: FakeWandb, tmp_path: Path) -> Syncs:
    return Syncs(tmp_path, server.url)


def names_of(server: FakeWandb) -> set[str]:
    """The artifacts that arrived whole; W&B makes a table's name unique by six letters."""
    names = {name for name, _ in server.artifacts.values()}
    return {re.sub(r"(_table)-\w{6}$", r"\1", name) for name in names}


def test_a_run_that_was_moved_is_sent_whole_tables_included(
    local_run: Path, syncs: Syncs, server: FakeWandb
) -> None:
    status, said = syncs(local_run)

    assert (status, said.splitlines()[-1]) == (0, "wandb sync went through 2 runs")
    assert names_of(server) == ARTIFACTS
    (table,) = [files for name, files in server.artifacts.values() if name.endswith("leaderboard")]
    assert any("media/images/" in file for file in table)  # the picture in one of its cells
    assert [line["loss"] for line in server.history[STEP] if "loss" in line][:2] == [2.5, 1.5]


def test_a_run_of_a_bucket_is_sent_whole(
    made: Path, syncs: Syncs, server: FakeWandb, request: pytest.FixtureRequest
) -> None:
    for kind in ("bucket", "s3_bucket"):
        server.artifacts.clear()
        cache = {"XDG_CACHE_HOME": str(syncs.root / f"cache-{kind}")}
        uri = f"{request.getfixturevalue(kind)}/pipeline-root/latent-fanout/{RUN_ID}"
        storage.upload_folder(made, f"{uri}/train-vae/0000-aaaa")

        status, said = syncs(uri, **cache)

        assert (status, said.splitlines()[-1]) == (0, "wandb sync went through 2 runs")
        assert names_of(server) == ARTIFACTS

        # Nothing is written beside it: this user's cache tells what was sent, and where.
        status, said = syncs(uri, **cache)
        assert (status, "nothing to sync" in said) == (2, True)


def test_what_was_sent_is_sent_to_another_place_alone(
    local_run: Path, syncs: Syncs, server: FakeWandb
) -> None:
    assert syncs(local_run)[0] == 0
    assert syncs(local_run)[0] == 2
    assert syncs(local_run, WANDB_PROJECT="genpipe")[0] == 2  # that is where they are
    server.operations.clear()

    assert syncs(local_run, WANDB_PROJECT="digits", WANDB_ENTITY="others")[0] == 0

    opened = {(one["entity"], one["project"]) for one in server.asked("RunResumeStatus")}
    assert opened == {("others", "digits")}
    assert syncs(local_run, WANDB_PROJECT="digits", WANDB_ENTITY="others")[0] == 2


def test_a_mark_of_wandbs_own_command_counts(local_run: Path, syncs: Syncs) -> None:
    for folder in (local_run / "wandb").glob("offline-run-*"):
        log = next(folder.glob("*.wandb"))
        log.with_name(f"{log.name}.synced").touch()

    status, said = syncs(local_run)

    assert (status, "nothing to sync" in said) == (2, True)


def test_a_table_whose_files_are_gone_is_an_error_and_leaves_no_mark(
    local_run: Path, syncs: Syncs, server: FakeWandb
) -> None:
    shutil.rmtree(local_run / "wandb" / "data")

    for _ in range(2):
        status, said = syncs(local_run)

        assert status == 1
        assert "error: 1 of" in said
        assert "train-vae-10: " in said
        assert "a file of its tables is missing" in said
    assert set(server.history) <= {run_id(GROUP, "cell-vae-10")}  # which has no table


@pytest.mark.parametrize("refused", ["CommitArtifact", "UpsertBucket", "upload"])
def test_a_run_that_was_not_sent_whole_is_sent_the_next_time(
    local_run: Path, syncs: Syncs, server: FakeWandb, refused: str
) -> None:
    """wandb itself takes the run for sent then, and ends with status 0."""
    server.refused[refused] = 400
    status, said = syncs(local_run)
    assert status == 1
    assert "runs were not sent, and are not marked as sent: " in said
    assert "refused" in said
    server.refused.clear()

    status, said = syncs(local_run)

    assert status == 0
    assert names_of(server) == ARTIFACTS


def test_a_log_that_a_killed_step_did_not_finish_is_sent_as_far_as_it_goes(
    local_run: Path, syncs: Syncs, server: FakeWandb
) -> None:
    (log,) = (local_run / "wandb").glob(f"*-{STEP}/*.wandb")
    log.write_bytes(log.read_bytes()[:-40])

    assert syncs(local_run)[0] == 0
    assert [line["loss"] for line in server.history[STEP] if "loss" in line][:2] == [2.5, 1.5]


def test_the_key_of_netrc_and_a_token_of_no_one(
    local_run: Path, syncs: Syncs, server: FakeWandb
) -> None:
    syncs.kept = {}
    status, said = syncs(local_run)
    assert (status, "there is no key for W&B at " + server.url in said) == (2, True)
    netrc = syncs.root / "home" / ".netrc"
    netrc.write_text(f"machine {server.url.partition('//')[2]}\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)

    assert syncs(local_run)[0] == 0

    server.behaviour = "401"
    status, said = syncs(local_run, WANDB_PROJECT="digits")
    assert status == 1
    assert f"error: W&B at {server.url}: " in said


@pytest.mark.parametrize(
    "trust", ["WANDB_INSECURE_DISABLE_SSL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", ""]
)
def test_a_server_with_a_certificate_of_ones_own(
    local_run: Path, tmp_path: Path, trust: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    value = "true" if trust.startswith("WANDB") else str(tmp_path / "ca.pem")
    with fake_wandb(certificate=authority.issue_cert("127.0.0.1")) as server:
        syncs = Syncs(tmp_path, server.url)
        status, said = syncs(local_run, **({trust: value} if trust else {}))

    assert status == (0 if trust else 1)
    assert trust or "certificate signed by unknown authority" in said


def test_it_does_not_wait_for_ever(local_run: Path, tmp_path: Path) -> None:
    with fake_wandb() as server:
        server.refused["UpsertBucket"] = 500  # wandb goes on asking
        syncs = Syncs(tmp_path, server.url)
        status, said = syncs(local_run, "--timeout", "4")
    assert status == 1
    assert "not done after 4 s: give it a longer --timeout" in said

    status, said = syncs(local_run)  # the server is gone
    assert status == 1
    reason = "it could not be reached (no answer within 10 seconds)"
    assert f"error: W&B at {server.url}: {reason}" in said


def test_what_wandb_would_refuse_is_refused(local_run: Path, syncs: Syncs) -> None:
    for variables, told in (
        ({"WANDB_PROJECT": "team/mnist"}, "WANDB_PROJECT is 'team/mnist': none of /"),
        ({"WANDB_ENTITY": "a b"}, "WANDB_ENTITY is 'a b'"),
        ({"WANDB_API_KEY": KEY[:5]}, "API key must have 40+ characters"),
    ):
        status, said = syncs(local_run, **variables)
        assert (status, told in said) == (2, True)
    assert not list(local_run.rglob("*.synced"))


def test_a_run_says_which_it_is(local_run: Path) -> None:
    folders = sorted((local_run / "wandb").glob("offline-run-*"))

    found = {read_run(folder).name: read_run(folder) for folder in folders}

    assert set(found) == {"train-vae-10", "cell-vae-10"}
    step = found["train-vae-10"]
    assert (step.entity, step.project, step.run_id) == ("", "genpipe", STEP)
