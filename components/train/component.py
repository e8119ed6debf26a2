"""The training steps as KFP components: thin adapters around ``train`` and ``train_judge``."""

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
    from components.metrics import log_metrics
    from components.train.step import train_cell

    parameters = {
        "latent_size": latent_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "hidden_size": hidden_size,
        "code_activation": code_activation,
        "precision": precision,
        "seed": seed,
    }
    scores, facts = train_cell(
        "autoencoder", parameters, data=data, model=model, wandb_folder=wandb_run.path
    )
    model.metadata.update(facts)
    log_metrics(metrics, scores)


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
    from components.metrics import log_metrics
    from components.train.step import train_cell

    parameters = {
        "latent_size": latent_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "hidden_size": hidden_size,
        "beta": beta,
        "precision": precision,
        "seed": seed,
    }
    scores, facts = train_cell(
        "vae", parameters, data=data, model=model, wandb_folder=wandb_run.path
    )
    model.metadata.update(facts)
    log_metrics(metrics, scores)


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
    from components.metrics import log_metrics
    from components.train.step import train_cell

    parameters = {
        "latent_size": latent_size,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "gen_interval": gen_interval,
        "share_generator_pass": share_generator_pass,
        "precision": precision,
        "seed": seed,
    }
    scores, facts = train_cell(
        "dcgan", parameters, data=data, model=model, wandb_folder=wandb_run.path
    )
    model.metadata.update(facts)
    log_metrics(metrics, scores)


@dsl.component(base_image="genpipe", install_kfp_package=False)
def judge(
    data: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    wandb_run: dsl.Output[dsl.Artifact],
    epochs: int = 3,
    seed: int = 0,
    samples: int = 10000,
) -> None:
    """Train the classifier that says which class a sample shows."""
    from pathlib import Path

    from components.metrics import log_metrics
    from components.tracking import open_step
    from components.train.step import give_each_operation_a_thread

    give_each_operation_a_thread()
    config = {"epochs": int(epochs), "seed": int(seed), "samples": int(samples)}
    with open_step("judge", config=config, folder=wandb_run.path) as tracker:
        from components.train.judge import train_judge

        card = train_judge(
            Path(data.path),
            Path(model.path),
            epochs=epochs,
            seed=seed,
            samples=samples,
            tracker=tracker,
        )
        tracker.uses("dataset", card["data"]["name"], data.uri)
        scores = {**card["metrics"], **card["training"]}
        tracker.summarize(scores)
        tracker.makes("model", "judge", model.uri, card["metrics"])
        log_metrics(metrics, scores)
        model.metadata.update(name="judge", **card["metrics"])
