"""Runs of this machine, removed with what only they use of the cache."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genpipe.errors import InputError
from pipelines.runs.removal import plan_removal

KEYS = {"ingest": "a" * 64, "train": "b" * 64, "judge": "c" * 64}


def make_run(runs: Path, name: str, taken: tuple[str, ...] = ()) -> Path:
    """A run that took some steps from the cache, as its events say."""
    folder = runs / name
    (folder / "logs").mkdir(parents=True)
    (folder / "arguments.json").write_text("{}")
    (folder / "report.html").write_text("report")
    (folder / "leaderboard.json").write_text('{"run": "", "cells": [], "best": {}}')
    events = [json.dumps({"event": "cached", "key": KEYS[step][:12]}) for step in taken]
    (folder / "logs" / "events.jsonl").write_text("\n".join(events))
    return folder


def make_step(runs: Path, run: str, step: str, cache: str = "cache") -> tuple[Path, Path]:
    """What kfp.local keeps of a step: its outputs, and their entry in the cache."""
    outputs = runs / ".kfp" / "outputs" / run / "latent-fanout-1" / step
    (outputs / "model").mkdir(parents=True)
    (outputs / "model" / "model.json").write_text("{}")
    (outputs / "step.json").write_text("{}")
    entry = runs / ".kfp" / cache / f"{KEYS[step]}.json"
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(json.dumps({"model": {"uri": str(outputs / "model")}}))
    return outputs, entry


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """``first`` made both steps, ``second`` took one of them; ``third`` made its own."""
    runs = tmp_path / "runs"
    make_run(runs, "first")
    make_run(runs, "second", ("ingest",))
    make_run(runs, "third")
    return runs


def test_what_another_run_took_stays_until_that_is_removed_too(
    runs: Path, genpipe: Callable[..., Any]
) -> None:
    shared, shared_entry = make_step(runs, "first", "ingest")
    own, own_entry = make_step(runs, "first", "train")
    other, other_entry = make_step(runs, "third", "judge", cache="cache-disabled")

    status, printed, _ = genpipe("runs", "remove", "first", "--runs", str(runs), "--yes")

    assert status == 0
    assert printed == "removed first: <1 MB freed\n"
    assert not (runs / "first").exists()
    assert shared.exists()
    assert shared_entry.exists()
    assert not own.exists()
    assert not own_entry.exists()
    assert other.exists()
    assert other_entry.exists()

    genpipe("runs", "remove", "second", "--runs", str(runs), "--yes")

    assert not shared.exists()
    assert not shared_entry.exists()
    assert other.exists()
    assert other_entry.exists()
    assert [path.name for path in runs.iterdir() if path.name != ".kfp"] == ["third"]


def test_nothing_is_removed_while_nobody_said_yes(runs: Path, genpipe: Callable[..., Any]) -> None:
    status, _, error = genpipe("runs", "remove", "first", "latest", "--runs", str(runs))

    assert status == 2
    assert "There is no terminal to ask on: add --yes" in error
    assert (runs / "first").is_dir()


def test_a_running_run_and_what_is_none_are_refused(runs: Path) -> None:
    (runs / "by-hand").mkdir()
    with pytest.raises(InputError, match="is not the folder of a run"):
        plan_removal(["by-hand"], runs)
    with pytest.raises(InputError, match="no run 'missing'"):
        plan_removal(["first", "missing"], runs)
    with pytest.raises(InputError, match="not on this machine"):
        plan_removal(["gs://bucket/run"], runs)
    with (runs / "first" / "logs" / "kfp.log").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="run 'first' is running: stop it first"):
            plan_removal(["first"], runs)


def test_the_cache_that_a_run_without_one_had_for_itself_goes_with_it(runs: Path) -> None:
    own = runs / ".kfp" / "outputs" / "first" / "cache"
    own.mkdir(parents=True)
    (own / f"{KEYS['train']}.json").write_bytes(bytes(2_000_000))

    removal = plan_removal(["first"], runs)

    assert removal.size > 2_000_000
    removal.carry_out()
    assert not own.exists()
