"""The ``publish`` step: between the adapter and ``publish``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from genpipe.errors import InputError, shown
from genpipe.outputs import Artifact
from genpipe.tracking import open_step


def read_margin(text: str) -> float | None:
    """The margin that the pipeline's parameter ``promotion_margin`` gives; None for ``auto``.

    Raises:
        InputError: it is no share.
    """
    try:
        share = None if text == "auto" else float(text)
    except ValueError:
        share = math.nan
    if share is not None and not 0 <= share <= 1:
        raise InputError(f"promotion_margin must be auto or a share from 0 to 1, got {shown(text)}")
    return share


def run(
    data: Artifact,
    judge: Artifact,
    models: Sequence[Artifact],
    evaluations: Sequence[Artifact],
    samples: Sequence[Artifact],
    leaderboard: Artifact,
    compared: Artifact,
    *,
    published: Artifact,
    report: Artifact,
    wandb_run: Artifact,
    target: str,
    force: bool,
    margin: str,
) -> None:
    """Make the best cell of each family the champion, if it is better than the one before.

    Args:
        data: the data set.
        judge: the judge's model folder.
        models: of the cells, collected.
        evaluations: of the cells, collected.
        samples: of the cells, collected.
        leaderboard: names the best cells.
        compared: the page that compare wrote.
        published: gets a JSON file with the decision on each family.
        report: gets that page, with the decisions in it.
        wandb_run: the W&B run's folder, where it runs offline.
        target: an absolute folder or a gs:// prefix; nothing is published if it is empty.
        force: make them champions whatever the comparison says.
        margin: by what share of the champion's metric they have to be better, beyond the interval:
            a number, or ``auto`` for each family's own.
    """

    def paths(artifacts: Sequence[Artifact]) -> list[Path]:
        return [Path(one.path) for one in artifacts]

    config = {"target": target, "force": force, "margin": margin}
    with open_step("publish", config=config, folder=wandb_run.path) as tracker:
        from components.publish.publish import publish

        decisions = publish(
            target=target,
            force=force,
            margin=read_margin(margin),
            run=tracker.group or "unnamed",
            data=Path(data.path),
            judge=Path(judge.path),
            leaderboard=Path(leaderboard.path),
            report=Path(compared.path),
            models=paths(models),
            evaluations=paths(evaluations),
            samples=paths(samples),
            page=Path(report.path),
            tracker=tracker,
        )
        tracker.uses("leaderboard", "leaderboard", leaderboard.uri)
        chosen = {decision.cell.name for decision in decisions}
        for model in models:
            if model.metadata.get("name") in chosen:
                tracker.uses("model", model.metadata["name"], model.uri)
        text = json.dumps([asdict(decision) for decision in decisions], indent=2)
        Path(published.path).write_text(text + "\n", encoding="utf-8")
