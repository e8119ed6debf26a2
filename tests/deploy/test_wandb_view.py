"""The view that deploy/wandb/view.py saves: what W&B is asked for, and that it is logged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genpipe.metrics.registry import METRICS
from pipelines.settings import STEPS
from tests.genpipe.tracking.fake_wandb import fake_wandb
from tests.genpipe.tracking.tracked_step import environment

ROOT = Path(__file__).parents[2]
KEY = "notakey" * 6
VIEWER = {"id": "1", "username": "me", "entity": "team", "email": "", "flags": "{}"}
TABLES = ("pictures/reconstructions", "pictures/samples")
PROJECT = {"id": "1", "name": "genpipe", "entityName": "team", "createdAt": "2026-01-01T00:00:00Z"}
SAVED = {"id": "Vmlldzox", "name": "view", "displayName": "genpipe: my-run", "type": "runs"}


def inside(document: Any, key: str) -> Iterator[Any]:
    """Every value of a key, wherever it is."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key and value:
                yield value
            yield from inside(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from inside(value, key)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the script asks of W&B, by operation."""
    place = tmp_path_factory.mktemp("view")
    with fake_wandb() as server:
        models = {
            "edges": [{"node": {**PROJECT, "isBenchmark": False, "user": None}, "cursor": "1"}],
            "pageInfo": {"endCursor": None, "hasNextPage": False},
        }
        spec = json.dumps({"version": 5, "panelSettings": {}, "blocks": []})
        saved = {**SAVED, "description": "", "spec": spec, "project": PROJECT}
        times = dict.fromkeys(("createdAt", "updatedAt"), PROJECT["createdAt"])
        server.answers = {
            "Viewer": {"viewer": {**VIEWER, "admin": False, "teams": {"edges": []}}},
            "GetProjects": {"models": models},
            "CreateCustomChart": {"createCustomChart": {"chart": {"id": "1"}}},
            "upsertView": {"upsertView": {"view": {**saved, **times}, "inserted": True}},
        }
        told = environment(place, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        script = [sys.executable, ROOT / "deploy" / "wandb" / "view.py"]
        done = subprocess.run(
            [*script, "team/genpipe", "--group", "my-run"],
            cwd=place,
            env=told,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().startswith(f"{server.url}/team/genpipe/reports/")
        return dict(server.operations)


@pytest.fixture(scope="module")
def report(asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(asked["upsertView"]["spec"])
    return content


def test_every_set_of_runs_is_of_the_run_asked_for_and_of_steps_that_there_are(
    report: dict[str, Any],
) -> None:
    kinds: set[str] = set()
    filters = [own["filters"] for own in inside(report, "filters") if isinstance(own, dict)]
    assert len(filters) == 5
    for own in filters:
        values = {one["key"]["name"]: one["value"] for one in own}
        assert values["group"] == "my-run"
        kinds |= set(values["jobType"])

    assert kinds <= {*STEPS, "cell"}
    assert {"cell", "train", "evaluate"} <= kinds


def test_parallel_coordinates_go_from_the_latent_size_to_the_seconds(
    report: dict[str, Any],
) -> None:
    (columns,) = inside(report, "columns")
    first, *figures = [column["accessor"] for column in columns]

    assert first == "config:latent_size.value"
    assert all(figure.removeprefix("summary:") in METRICS for figure in figures)
    assert figures[-1] == "summary:train_seconds"


def test_what_the_view_shows_is_what_the_docs_say_is_logged(report: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    logged = set(re.findall(r"`([^`]+)`", page.partition("| run | key |")[2]))
    (codes,) = (
        field["args"][0]["value"]
        for fields in inside(report, "fields")
        for field in fields
        if field["name"] == "summaryTable"
    )
    lists = [keys for name in ("metrics", "mediaKeys") for keys in inside(report, name)]
    shown = {key for keys in lists for key in keys}
    text = json.dumps(report)

    assert shown | {codes} <= logged
    assert {"validation_loss", "reconstructions", "samples", "generator_loss"} <= shown
    assert all(table in text and table in logged for table in TABLES)


def test_the_scatter_is_coloured_by_the_class(
    asked: dict[str, dict[str, Any]], report: dict[str, Any]
) -> None:
    chart = json.loads(asked["CreateCustomChart"]["spec"])
    (name,) = inside(report, "panelDefId")
    (fields,) = inside(report, "fieldSettings")

    assert name == f"team/{asked['CreateCustomChart']['chartName']}"
    assert fields == {"x": "x", "y": "y", "class": "class"}
    assert chart["encoding"]["color"]["field"] == "${field:class}"
    assert set(re.findall(r"\$\{field:(\w+)\}", json.dumps(chart))) == set(fields)
