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
    """Make the best cell of each family the champion, if it is better than the one before."""
    from components.publish.step import run

    run(
        data,
        judge,
        leaderboard,
        compared,
        published,
        report,
        wandb_run,
        target=target,
        force=force,
        models=[autoencoder_models, vae_models, dcgan_models],
        evaluations=[autoencoder_evaluations, vae_evaluations, dcgan_evaluations],
        samples=[autoencoder_samples, vae_samples, dcgan_samples],
    )
