"""The ``compare`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def compare(
    data: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    families: list,
    latent_sizes: list,
    leaderboard: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    autoencoder_models: dsl.Input[list[dsl.Model]] = None,
    autoencoder_evaluations: dsl.Input[list[dsl.Artifact]] = None,
    autoencoder_samples: dsl.Input[list[dsl.Dataset]] = None,
    vae_models: dsl.Input[list[dsl.Model]] = None,
    vae_evaluations: dsl.Input[list[dsl.Artifact]] = None,
    vae_samples: dsl.Input[list[dsl.Dataset]] = None,
    dcgan_models: dsl.Input[list[dsl.Model]] = None,
    dcgan_evaluations: dsl.Input[list[dsl.Artifact]] = None,
    dcgan_samples: dsl.Input[list[dsl.Dataset]] = None,
) -> None:
    """Rank all cells of a run, and write the leaderboard and the report.

    Args:
        data: the data set.
        judge: the judge's model folder.
        families: the families that were asked for.
        latent_sizes: the latent sizes that were asked for.
        leaderboard: leaderboard.json and leaderboard.csv.
        report: one self-contained page.
        metrics: counts of cells by status, and each family's best figures.
        wandb_run: the W&B run's folder, where it runs offline.
        autoencoder_models: of the family's cells, collected; None if it was not asked for.
        autoencoder_evaluations: likewise.
        autoencoder_samples: likewise.
        vae_models: likewise.
        vae_evaluations: likewise.
        vae_samples: likewise.
        dcgan_models: likewise.
        dcgan_evaluations: likewise.
        dcgan_samples: likewise.
    """
    from pathlib import Path

    from components.cells import Cell
    from components.metrics import log_metrics
    from components.tracking import open_step

    def joined(*lists: list | None) -> list:
        return [artifact for artifacts in lists for artifact in artifacts or []]

    models = joined(autoencoder_models, vae_models, dcgan_models)
    evaluations = joined(autoencoder_evaluations, vae_evaluations, dcgan_evaluations)
    samples = joined(autoencoder_samples, vae_samples, dcgan_samples)
    sizes = [int(size) for size in latent_sizes]
    config = {"families": families, "latent_sizes": sizes}
    with open_step("compare", config=config, folder=wandb_run.path) as tracker:
        from components.compare.compare import compare as compare_cells

        scalars = compare_cells(
            run=tracker.group or "unnamed",
            data=Path(data.path),
            judge=Path(judge.path),
            expected=[Cell(family, size) for family in families for size in sizes],
            models=[Path(artifact.path) for artifact in models],
            evaluations=[Path(artifact.path) for artifact in evaluations],
            samples=[Path(artifact.path) for artifact in samples],
            leaderboard=Path(leaderboard.path),
            report=Path(report.path),
            tracker=tracker,
        )
        for kind, artifacts in (
            ("model", models),
            ("evaluation", evaluations),
            ("samples", samples),
        ):
            for artifact in artifacts:
                tracker.uses(kind, artifact.metadata.get("name", kind), artifact.uri)
        tracker.makes("leaderboard", "leaderboard", leaderboard.uri)
        log_metrics(metrics, scalars)
