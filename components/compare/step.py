"""The ``compare`` step: between the adapter and ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from genpipe.cells import read_cell
from genpipe.code import commit
from genpipe.outputs import Artifact, log_metrics
from genpipe.tracking import open_step


def run(
    data: Artifact,
    judge: Artifact,
    models: Sequence[Artifact],
    evaluations: Sequence[Artifact],
    samples: Sequence[Artifact],
    cells: Sequence[str],
    *,
    leaderboard: Artifact,
    report: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
) -> None:
    """Rank all cells of a run, and write the leaderboard and the report.

    Args:
        data: the data set.
        judge: the judge's model folder.
        models: of the cells, collected.
        evaluations: of the cells, collected.
        samples: of the cells, collected.
        cells: that were asked for, as ``read_cell`` reads them.
        leaderboard: gets leaderboard.json and leaderboard.csv.
        report: gets one self-contained page.
        metrics: gets counts of cells by status, and each family's best metrics.
        wandb_run: the W&B run's folder, where it runs offline.
    """
    made = {"model": models, "evaluation": evaluations, "samples": samples}
    paths = {kind: [Path(one.path) for one in artifacts] for kind, artifacts in made.items()}
    config = {"cells": list(cells)}
    with open_step("compare", config=config, folder=wandb_run.path) as tracker:
        from components.compare.compare import compare

        scalars = compare(
            run=tracker.group or "unnamed",
            data=Path(data.path),
            judge=Path(judge.path),
            expected=sorted(read_cell(cell)[0] for cell in cells),
            models=paths["model"],
            evaluations=paths["evaluation"],
            samples=paths["samples"],
            leaderboard=Path(leaderboard.path),
            report=Path(report.path),
            tracker=tracker,
            date=f"{datetime.now(UTC):%-d %B %Y}",
            commit=commit(),
        )
        for kind, artifacts in made.items():
            for one in artifacts:
                tracker.uses(kind, one.metadata.get("name", kind), one.uri)
        tracker.makes("leaderboard", "leaderboard", leaderboard.uri)
        log_metrics(metrics, scalars)
