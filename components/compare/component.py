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
    """Rank all cells of a run, and write the leaderboard and the report."""
    from components.compare.step import run

    run(
        data,
        judge,
        leaderboard,
        report,
        metrics,
        wandb_run,
        families=families,
        latent_sizes=latent_sizes,
        models=[autoencoder_models, vae_models, dcgan_models],
        evaluations=[autoencoder_evaluations, vae_evaluations, dcgan_evaluations],
        samples=[autoencoder_samples, vae_samples, dcgan_samples],
    )
