"""The ``publish`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def publish(
    leaderboard: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.HTML],
    published: dsl.Output[dsl.Artifact],
    wandb_run: dsl.Output[dsl.Artifact],
    target: str = "",
    autoencoder_models: dsl.Input[list[dsl.Model]] = None,
    autoencoder_evaluations: dsl.Input[list[dsl.Artifact]] = None,
    vae_models: dsl.Input[list[dsl.Model]] = None,
    vae_evaluations: dsl.Input[list[dsl.Artifact]] = None,
    dcgan_models: dsl.Input[list[dsl.Model]] = None,
    dcgan_evaluations: dsl.Input[list[dsl.Artifact]] = None,
) -> None:
    """Copy the best cell of each family, with its evaluation, to a folder or bucket.

    Args:
        leaderboard: names the best cells.
        report: the run's page.
        published: a JSON file with the address of each published family.
        wandb_run: the W&B run's folder, where it runs offline.
        target: an absolute folder or a gs:// prefix; nothing is published if it is empty.
        autoencoder_models: of the family's cells, collected; None if it was not asked for.
        autoencoder_evaluations: likewise.
        vae_models: likewise.
        vae_evaluations: likewise.
        dcgan_models: likewise.
        dcgan_evaluations: likewise.
    """
    import json
    from pathlib import Path

    from components.tracking import open_step

    def paths(*lists: list | None) -> list:
        return [Path(artifact.path) for artifacts in lists for artifact in artifacts or []]

    with open_step("publish", config={"target": target}, folder=wandb_run.path) as tracker:
        from components.publish.publish import publish as publish_best

        addresses = publish_best(
            target=target,
            run=tracker.group or "unnamed",
            leaderboard=Path(leaderboard.path),
            report=Path(report.path),
            models=paths(autoencoder_models, vae_models, dcgan_models),
            evaluations=paths(autoencoder_evaluations, vae_evaluations, dcgan_evaluations),
            tracker=tracker,
        )
        tracker.uses("leaderboard", "leaderboard", leaderboard.uri)
        tracker.summarize({f"published/{family}": at for family, at in addresses.items()})
        Path(published.path).write_text(json.dumps(addresses, indent=2) + "\n", encoding="utf-8")
