"""The training steps of the pipeline."""

from kfp import dsl


@dsl.component(base_image="genpipe", install_kfp_package=False)
def train_autoencoder(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    latent_size: int,
    epochs: int = 11,
    batch_size: int = 64,
    learning_rate: float = 1.5e-3,
    hidden_size: int = 512,
    code_activation: str = "relu",
    precision: str = "auto",
    seed: int = 0,
) -> None:
    """Train the autoencoder of one latent size."""
    from components.train.step import run

    run(
        "autoencoder",
        data,
        model,
        metrics,
        wandb_run,
        latent_size=latent_size,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        hidden_size=hidden_size,
        code_activation=code_activation,
        precision=precision,
        seed=seed,
    )


@dsl.component(base_image="genpipe", install_kfp_package=False)
def train_vae(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    latent_size: int,
    epochs: int = 11,
    batch_size: int = 96,
    learning_rate: float = 4e-3,
    hidden_size: int = 512,
    beta: float = 1.0,
    precision: str = "auto",
    seed: int = 0,
) -> None:
    """Train the variational autoencoder of one latent size."""
    from components.train.step import run

    run(
        "vae",
        data,
        model,
        metrics,
        wandb_run,
        latent_size=latent_size,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        hidden_size=hidden_size,
        beta=beta,
        precision=precision,
        seed=seed,
    )


@dsl.component(base_image="genpipe", install_kfp_package=False)
def train_dcgan(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    latent_size: int,
    steps: int = 1100,
    batch_size: int = 32,
    learning_rate: float = 2e-4,
    gen_interval: int = 250,
    share_generator_pass: bool = False,
    precision: str = "auto",
    seed: int = 0,
) -> None:
    """Train the DCGAN of one latent size."""
    from components.train.step import run

    run(
        "dcgan",
        data,
        model,
        metrics,
        wandb_run,
        latent_size=latent_size,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        gen_interval=gen_interval,
        share_generator_pass=share_generator_pass,
        precision=precision,
        seed=seed,
    )
