"""The ``publish`` step of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def publish(
    data: dsl.Input[dsl.Dataset],
    judge: dsl.Input[dsl.Model],
    leaderboard: dsl.Input[dsl.Artifact],
    compared: dsl.Input[dsl.HTML],
    published: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    wandb_run: dsl.Output[dsl.Artifact],
    target: str = "",
    force: bool = False,
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
    """Make the best cell of each family the champion, if it is better than the one before.

    Args:
        data: the data set.
        judge: the judge's model folder.
        leaderboard: names the best cells.
        compared: the page that compare wrote.
        published: a JSON file with the decision on each family.
        report: that page, with the decisions in it.
        wandb_run: the W&B run's folder, where it runs offline.
        target: an absolute folder or a gs:// prefix; nothing is published if it is empty.
        force: make them champions whatever the comparison says.
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
    import json
    from dataclasses import asdict
    from pathlib import Path

    from components.tracking import open_step

    def paths(*lists: list | None) -> list:
        return [Path(artifact.path) for artifacts in lists for artifact in artifacts or []]

    config = {"target": target, "force": force}
    with open_step("publish", config=config, folder=wandb_run.path) as tracker:
        from components.publish.publish import publish as publish_best

        decisions = publish_best(
            target=target,
            force=force,
            run=tracker.group or "unnamed",
            data=Path(data.path),
            judge=Path(judge.path),
            leaderboard=Path(leaderboard.path),
            report=Path(compared.path),
            models=paths(autoencoder_models, vae_models, dcgan_models),
            evaluations=paths(autoencoder_evaluations, vae_evaluations, dcgan_evaluations),
            samples=paths(autoencoder_samples, vae_samples, dcgan_samples),
            page=Path(report.path),
            tracker=tracker,
        )
        tracker.uses("leaderboard", "leaderboard", leaderboard.uri)
        chosen = {decision.cell.name for decision in decisions}
        for models in (autoencoder_models, vae_models, dcgan_models):
            for model in models or []:
                if model.metadata.get("name") in chosen:
                    tracker.uses("model", model.metadata["name"], model.uri)
        text = json.dumps([asdict(decision) for decision in decisions], indent=2)
        Path(published.path).write_text(text + "\n", encoding="utf-8")
