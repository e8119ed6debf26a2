from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpipe.cells import Cell
from genpipe.tracking import Picture, Tracker
from genpipe.tracking.step import run_id, step_name
from tests.genpipe.tracking.tracked_step import (
    DRAWN,
    GROUP,
    LOGGING,
    Step,
    environment,
    program,
    run,
)
from tests.wandb_records import read_records


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """A step that logs one of everything, offline."""
    return run(tmp_path_factory.mktemp("logged"), LOGGING, WANDB_RUN_GROUP=GROUP)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The records of a step's run and of the run of its cell, by name."""
    step = run(tmp_path_factory.mktemp("drawn"), DRAWN, WANDB_RUN_GROUP=GROUP)
    assert (step.status, "W&B" in step.out) == (0, False)
    names = {run_id(GROUP, name): name for name in ("train-vae-10", "cell-vae-10")}
    return {names[path.name.split("-")[-1]]: read_records(path) for path in step.runs}


def test_steps_are_named_after_their_cell() -> None:
    cell = Cell("vae", 10)

    assert step_name("ingest", None) == "ingest"
    assert step_name("train", cell) == "train-vae-10"
    assert step_name("evaluate", cell) == "evaluate-vae-10"
    assert step_name("train", Cell("autoencoder", 2)) == "train-autoencoder-2"


def test_a_run_id_belongs_to_one_step_of_one_group() -> None:
    ids = [run_id(*both) for both in [("a", "x"), ("a", "y"), ("b", "x")]]

    assert len(set(ids)) == 3
    assert run_id("a", "x") == ids[0]
    assert run_id("", "x") is None


def test_a_tracker_without_wandb_takes_everything(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker()

    tracker.log({"loss": 1.0, "picture": Picture(np.zeros((2, 2), np.uint8))})
    tracker.table("table", ["a"], [[1]])
    tracker.uses("dataset", "mnist", "gs://a/b")
    tracker.say("done")
    tracker.close()

    assert capsys.readouterr().out == "done\n"


def test_the_step_succeeds_and_says_so_in_one_line(logged: Step) -> None:
    assert (logged.status, logged.error) == (0, "")
    assert logged.out.splitlines()[-1].startswith("train-vae-10: done after ")
    assert len(logged.out.splitlines()) == 1


def test_the_run_has_group_job_type_name_and_config(logged: Step) -> None:
    (opened,) = logged.of("run")

    assert opened["run_group"] == GROUP
    assert opened["job_type"] == "train"
    assert opened["display_name"] == "train-vae-10"
    assert opened["project"] == "genpipe"
    assert opened["run_id"] == run_id(GROUP, "train-vae-10")
    config = opened["config"]["update"]
    assert {name: config[name] for name in ("beta", "seed")} == {"beta": 1.5, "seed": 3}
    assert logged.of("exit")[0].get("exit_code") == 0


def test_numbers_and_pictures_are_one_history(logged: Step) -> None:
    first, second, table, page = (record["item"] for record in logged.of("history"))

    assert (first["epoch"], first["loss"]) == (1, 2.5)
    assert (second["epoch"], second["loss"]) == (2, 1.5)
    assert second["reconstructions._type"] == "image-file"
    assert second["reconstructions.caption"] == "epoch 2"
    assert (second["reconstructions.width"], second["reconstructions.height"]) == (9, 8)
    assert (table["leaderboard._type"], table["leaderboard.nrows"]) == ("table-file", 1)
    assert page["report._type"] == "html-file"
    media = logged.runs[0] / "files"
    for path in (second["reconstructions.path"], table["leaderboard.path"], page["report.path"]):
        assert (media / path).is_file()
    assert (media / page["report.path"]).read_text() == "<p>all cells</p>"


def summary_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    updates = [record["summary"]["update"] for record in records if record["type"] == "summary"]
    return {name: value for update in updates for name, value in update.items()}


def test_the_history_is_drawn_over_its_axis(drawn: dict[str, list[dict[str, Any]]]) -> None:
    records = drawn["train-vae-10"]
    metrics = [record["metric"] for record in records if record["type"] == "metric"]

    axis, every, *best = metrics
    assert (axis["name"], axis["options"].get("hidden")) == ("epoch", True)
    assert (every["glob_name"], every["step_metric"]) == ("*", "epoch")
    assert {metric["name"]: metric["step_metric"] for metric in best} == {
        "loss": "epoch",
        "accuracy": "epoch",
    }


def test_the_summary_keeps_the_best_value_beside_the_last(
    drawn: dict[str, list[dict[str, Any]]],
) -> None:
    summary = summary_of(drawn["train-vae-10"])

    assert summary["loss"] == {"min": 1.5, "last": 2}
    assert summary["accuracy"] == {"max": 0.75, "last": 0.25}
    assert summary["images_per_second"] == 9


def test_a_scatter_plot_is_a_chart_of_a_table(drawn: dict[str, list[dict[str, Any]]]) -> None:
    records = drawn["train-vae-10"]
    configs = [record["config"]["update"] for record in records if record["type"] == "config"]
    (chart,) = [update for update in configs if "_wandb.visualize.latent/codes" in update]
    items = [record["history"]["item"] for record in records if record["type"] == "history"]

    panel = chart["_wandb.visualize.latent/codes"]["panel_config"]
    assert panel["panelDefId"] == "wandb/scatter/v0"
    assert panel["fieldSettings"] == {"x": "x", "y": "y"}
    assert items[-1]["latent/codes_table.nrows"] == 2
    assert items[-1]["latent/codes_table.ncols"] == 3


def test_a_cell_has_a_run_with_all_its_figures(drawn: dict[str, list[dict[str, Any]]]) -> None:
    records = drawn["cell-vae-10"]
    opened = next(record["run"] for record in records if record["type"] == "run")
    summary = summary_of(records)

    assert (opened["job_type"], opened["run_group"]) == ("cell", GROUP)
    config = opened["config"]["update"]
    figures = ("mean_squared_error", "frechet_distance", "train_seconds")
    assert [config[name] for name in ("family", "latent_size", "beta")] == ["vae", 10, 1.5]
    assert [summary[name] for name in figures] == [0.0412, 66.1, 36]
    assert records[-1]["type"] == "exit"


def test_the_summary_holds_what_was_summarized(logged: Step) -> None:
    updates = [record["update"] for record in logged.of("summary")]
    summary = {name: value for update in updates for name, value in update.items()}

    assert (summary["accuracy"], summary["status"]) == (0.75, "complete")


def test_an_alert_is_sent_once_with_its_level(logged: Step) -> None:
    (alert,) = logged.of("alert")

    assert (alert["title"], alert["text"]) == ("VAE 10 is worse than the champion", "by 3")
    assert alert["level"] == "WARN"


def test_artifacts_are_references_with_their_lineage(logged: Step) -> None:
    artifacts = {artifact["type"]: artifact for artifact in logged.of("artifact")}
    used, made = artifacts["dataset"], artifacts["model"]

    assert (used["name"], made["name"]) == ("mnist", "vae-10")
    assert used["use_after_commit"] is True
    assert not made.get("use_after_commit")
    (entry,) = used["manifest"]["contents"]
    assert entry["ref"] == (logged.root / "data").as_uri()
    (entry,) = made["manifest"]["contents"]
    assert entry["ref"] == (logged.root / "step" / "wandb_run").as_uri()
    assert json.loads(made["metadata"]) == {"status": "complete"}


def test_an_artifact_in_a_bucket_is_recorded_without_opening_the_bucket(tmp_path: Path) -> None:
    """On a cluster the address may be of a store that W&B has no client or no key for."""
    uris = [f"{scheme}://bucket/model" for scheme in ("gs", "s3", "minio")]

    done = run(tmp_path, f"for uri in {uris}:\n    tracker.makes('model', 'vae-10@1', uri)")

    assert "W&B" not in done.out
    # W&B's server has no "@" in such a name.
    assert {artifact["name"] for artifact in done.of("artifact")} == {"vae-10-seed-1"}
    entries = [artifact["manifest"]["contents"] for artifact in done.of("artifact")]
    assert [entry["ref"] for (entry,) in entries] == uris


def test_all_that_was_logged_lies_in_the_steps_folder(logged: Step) -> None:
    """What a later sync uploads must not stay behind in a pod's home."""
    contents = [
        Path(entry["local_path"])
        for artifact in logged.of("artifact")
        for entry in artifact["manifest"].get("contents", [])
        if entry.get("local_path")
    ]

    assert all(path.is_relative_to(logged.root / "step" / "wandb_run") for path in contents)


def test_wandbs_service_has_written_all_when_the_step_is_done(tmp_path: Path) -> None:
    """It is gone: on a busy machine it wrote after the step's folder had been copied."""
    text = program("tracker.log({'loss': 1.0})")
    text += "\nimport psutil\nprint([child.name() for child in psutil.Process().children()])"
    done = subprocess.run(
        [sys.executable, "-c", text, str(tmp_path / "step" / "wandb_run"), str(tmp_path)],
        env=environment(tmp_path, WANDB_MODE="offline"),
        stdout=subprocess.PIPE,
        text=True,
    )

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]")


def test_a_step_that_is_tried_again_goes_on_in_the_same_run(logged: Step, tmp_path: Path) -> None:
    again = run(tmp_path, "tracker.log({'loss': 1})", WANDB_RUN_GROUP=GROUP)

    assert again.of("run")[0]["run_id"] == logged.of("run")[0]["run_id"]
    assert again.of("run")[0]["resume"] is True


def test_without_a_group_the_run_has_an_id_of_its_own(logged: Step, tmp_path: Path) -> None:
    alone = run(tmp_path, "tracker.log({'loss': 1})")

    (opened,) = alone.of("run")
    assert alone.status == 0
    assert "run_group" not in opened
    assert opened["run_id"] != logged.of("run")[0]["run_id"]


def test_events_tell_how_the_step_went(logged: Step) -> None:
    first, last = logged.events

    assert (first["step"], first["event"]) == ("train-vae-10", "start")
    assert first["folder"] == str(logged.root / "step")
    assert (last["event"], last["status"], last["error"]) == ("end", "done", "")
    assert last["seconds"] > 0
    record = json.loads((logged.root / "step" / "step.json").read_text())
    assert record == {"step": "train-vae-10", "seconds": last["seconds"]}


@pytest.mark.parametrize("kind", ["InputError", "StepError"])
def test_an_error_that_the_caller_mends_is_one_line_and_exit_status_1(
    tmp_path: Path, kind: str
) -> None:
    failed = run(tmp_path, f"raise {kind}('no such bucket: make it')", WANDB_RUN_GROUP=GROUP)

    assert failed.status == 1
    assert "Traceback" not in failed.out + failed.error
    assert (failed.out + failed.error).count("no such bucket") == 1
    assert "error: no such bucket: make it\n" in failed.out
    assert failed.of("exit")[0]["exit_code"] == 1
    last = failed.events[-1]
    assert (last["status"], last["error"]) == ("failed", "no such bucket: make it")
    assert not (tmp_path / "step" / "step.json").exists()


def test_any_other_error_leaves_a_traceback_and_a_failed_run(tmp_path: Path) -> None:
    failed = run(tmp_path, "{}['missing']", WANDB_RUN_GROUP=GROUP)

    assert failed.status == 1
    assert "Traceback" in failed.error
    assert "{}['missing']" in failed.error or "KeyError: 'missing'" in failed.error
    assert "train-vae-10: failed after" in failed.out
    assert failed.of("exit")[0]["exit_code"] == 1
    assert failed.events[-1]["status"] == "failed"
    assert failed.events[-1]["error"] == "KeyError: 'missing'"


def test_with_a_log_folder_all_that_the_step_prints_is_in_its_log(tmp_path: Path) -> None:
    body = (
        "import os\n"
        "tracker.say('a line')\n"
        "os.write(2, b'from a library\\n')\n"
        "raise RuntimeError('broken')"
    )

    failed = run(tmp_path, body, GENPIPE_LOGS=str(tmp_path / "logs"))

    log = (tmp_path / "logs" / "train-vae-10.log").read_text()
    assert (failed.out, failed.error) == ("", "")
    for text in ("a line\n", "from a library\n", "Traceback", "RuntimeError: broken", "failed"):
        assert text in log


def test_what_wandb_refuses_does_not_fail_the_step(tmp_path: Path) -> None:
    body = """
bad = Picture(np.zeros((2, 2, 2, 2, 2), np.uint8))
tracker.log({"picture": bad})
tracker.table("table", ["picture"], [[bad]])
tracker.uses("dataset", "a name with / in it", "gs://bucket/data")
tracker.log({"loss": 1.0})
"""
    done = run(tmp_path, body)

    assert done.status == 0, done.error
    assert done.out.count("W&B: ") == 1
    assert done.of("history")[-1]["item"]["loss"] == 1
    assert done.events[-1]["status"] == "done"


def test_a_disabled_wandb_writes_nothing_and_says_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, LOGGING, WANDB_MODE="disabled")

    assert done.status == 0
    assert "W&B" not in done.out
    assert done.runs == []


def test_wandbs_settings_file_counts(tmp_path: Path) -> None:
    settings = tmp_path / "home" / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nmode = disabled\nproject = digits\nentity = team\n")

    assert run(tmp_path, LOGGING).runs == []
    (opened,) = run(tmp_path, LOGGING, WANDB_MODE="offline").of("run")
    assert (opened["project"], opened["entity"]) == ("digits", "team")
