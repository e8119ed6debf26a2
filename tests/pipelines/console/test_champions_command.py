from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from genpipe import storage
from genpipe.registry.champions import Champions
from pipelines.cli import main
from tests.components.publish.made_run import MadeRun


def genpipe(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["champions", *map(str, arguments)])


@pytest.fixture(params=["local", "bucket", "s3_bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where two runs published: the second's VAE was better, its autoencoder worse."""
    shelf = tmp_path / "shelf"
    MadeRun(tmp_path, "run-1", {"autoencoder": 0.03, "vae": 100.0}).publish(shelf)
    MadeRun(tmp_path, "run-2", {"autoencoder": 0.04, "vae": 90.0}, seed=2).publish(shelf)
    if request.param == "local":
        return str(shelf)
    uri = f"{request.getfixturevalue(request.param)}/shelf"
    storage.upload_folder(shelf, uri)
    return uri


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    MadeRun(tmp_path, "run-1", {"vae": 100.0}).publish(tmp_path / "shelf")
    return tmp_path / "shelf"


def test_list_tells_who_is_champion(target: str) -> None:
    shown = genpipe("list", target)

    assert shown.exit_code == 0, shown.output
    heading, autoencoder, vae = shown.output.splitlines()
    assert heading.split() == ["model", "version", "run", "metric", "since", "by"]
    version = Champions(target, "vae").standing().decision
    assert version is not None
    assert vae.split()[:5] == ["vae-10", version.champion, "run-2", "ELBO", "-90"]
    assert vae.split()[-1] == "promoted"
    assert autoencoder.split()[0::2][:2] == ["autoencoder-10", "run-1"]


def test_history_tells_every_decision(target: str) -> None:
    shown = genpipe("history", target)

    assert shown.exit_code == 0, shown.output
    told = [line for line in shown.output.splitlines() if not line.startswith("    champion: ")]
    assert [" ".join(line.split()[2:4]) for line in told] == [
        "autoencoder-10 published:",
        "vae-10 published:",
        "autoencoder-10 not",
        "vae-10 promoted,",
    ]
    assert (
        "ELBO -90 against the champion's -100 on the validation split, improvement 10 (95%"
        in told[3]
    )
    assert told[3].endswith("(run-2)")
    only = genpipe("history", target, "vae").output
    assert "autoencoder" not in only
    assert only.count("champion: ") == 2


@pytest.mark.parametrize("target", ["local", "bucket"], indirect=True)
def test_rollback_puts_the_one_before_back_and_is_recorded(target: str) -> None:
    back = genpipe("rollback", target, "vae")

    assert back.exit_code == 0, back.output
    assert back.output.startswith("vae-10 of run run-1 is champion again: 2")
    assert "vae-10 rolled back, by hand (run-1)" in genpipe("history", target).output
    (row,) = (line for line in genpipe("list", target).output.splitlines() if "vae-10" in line)
    assert row.split()[2] == "run-1"
    assert row.endswith("rolled back")


def test_a_retraining_is_compared_with_what_was_put_back(shelf: Path, tmp_path: Path) -> None:
    MadeRun(tmp_path, "run-2", {"vae": 90.0}, seed=2).publish(shelf)
    genpipe("rollback", shelf, "vae")

    (decision,) = MadeRun(tmp_path, "run-3", {"vae": 95.0}, seed=3).publish(shelf).values()

    assert decision.outcome == "promoted"
    assert decision.comparison is not None
    assert decision.comparison.champion == pytest.approx(-100, rel=1e-4)


def test_the_model_that_was_rolled_back_comes_again_by_force_alone(
    shelf: Path, tmp_path: Path
) -> None:
    better = MadeRun(tmp_path, "run-2", {"vae": 90.0}, seed=2)
    better.publish(shelf)
    genpipe("rollback", shelf, "vae")

    (again,) = better.publish(shelf).values()
    assert (again.outcome, again.reason) == ("kept", "this very model was rolled back")
    (forced,) = better.publish(shelf, force=True).values()
    assert forced.outcome == "promoted"


@pytest.mark.parametrize("target", ["s3_bucket"], indirect=True)
def test_a_store_that_is_only_read_is_not_rolled_back(target: str) -> None:
    back = genpipe("rollback", target, "vae")

    assert "cannot be stored on S3" in str(back.exception)


def test_a_champion_that_is_not_whole_shows_in_the_list(shelf: Path) -> None:
    (metadata,) = shelf.glob("vae/versions/*/version.json")
    metadata.unlink()

    assert "cannot read" in genpipe("list", shelf).output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("list", "SHELF/nowhere"), "no champions in .*nowhere: the folder does not exist"),
        (
            ("history", "SHELF", "dcgan"),
            "no champions in .*: none of dcgan has been published there yet",
        ),
        (("history", "SHELF", "gan"), "unknown model family 'gan': did you mean dcgan"),
        (
            ("rollback", "SHELF", "vae"),
            "vae has no earlier champion to roll back to",
        ),
        (("rollback", "SHELF", "vae", "../../x"), r"'../../x' was never champion of vae"),
        (("list", "gs://"), "names no bucket"),
    ],
)
def test_what_can_not_be_done_is_told(
    shelf: Path, arguments: tuple[str, ...], problem: str
) -> None:
    done = genpipe(*(argument.replace("SHELF", str(shelf)) for argument in arguments))

    assert done.exit_code == 1
    with pytest.raises(ValueError, match=problem):
        raise done.exception or AssertionError
