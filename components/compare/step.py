"""The ``compare`` step: between the adapter and ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genpipe.cells import Cell, parse_family
from genpipe.outputs import Artifact, joined, log_metrics
from genpipe.tracking import open_step


def run(
    data: Artifact,
    judge: Artifact,
    leaderboard: Artifact,
    report: Artifact,
    metrics: Artifact,
    wandb_run: Artifact,
    *,
    families: Sequence[str],
    latent_sizes: Sequence[float],
    models: Sequence[Sequence[Artifact] | None],
    evaluations: Sequence[Sequence[Artifact] | None],
    samples: Sequence[Sequence[Artifact] | None],
) -> None:
    """Rank all cells of a run, and write the leaderboard and the report.

    Args:
        data: the data set.
        judge: the judge's model folder.
        leaderboard: gets leaderboard.json and leaderboard.csv.
        report: gets one self-contained page.
        metrics: gets counts of cells by status, and each family's best figures.
        wandb_run: the W&B run's folder, where it runs offline.
        families: the families that were asked for.
        latent_sizes: the latent sizes that were asked for.
        models: of each family's cells, collected; None of a family that was not asked for.
        evaluations: likewise.
        samples: likewise.
    """
    sizes = [int(size) for size in latent_sizes]
    made = {
        "model": joined(models),
        "evaluation": joined(evaluations),
        "samples": joined(samples),
    }
    paths = {kind: [Path(one.path) for one in artifacts] for kind, artifacts in made.items()}
    config = {"families": families, "latent_sizes": sizes}
    with open_step("compare", config=config, folder=wandb_run.path) as tracker:
        from components.compare.compare import compare

        scalars = compare(
            run=tracker.group or "unnamed",
            data=Path(data.path),
            judge=Path(judge.path),
            expected=[Cell(parse_family(family), size) for family in families for size in sizes],
            models=paths["model"],
            evaluations=paths["evaluation"],
            samples=paths["samples"],
            leaderboard=Path(leaderboard.path),
            report=Path(report.path),
            tracker=tracker,
        )
        for kind, artifacts in made.items():
            for one in artifacts:
                tracker.uses(kind, one.metadata.get("name", kind), one.uri)
        tracker.makes("leaderboard", "leaderboard", leaderboard.uri)
        log_metrics(metrics, scalars)
