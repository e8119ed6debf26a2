"""The pipeline: what runs after what, and nothing else.

ingest -> judge ---------------------------------------------+
  |                                                          v
  +-> for latent_size: train_autoencoder -> evaluate, sample +
  +-> for latent_size: train_vae         -> evaluate, sample +-> compare -> publish
  +-> for latent_size: train_dcgan       -> evaluate, sample +
"""

# No `from __future__ import annotations` here: kfp reads the annotations as types.
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kfp import compiler, dsl
from kfp.dsl import PipelineTask

from components.compare.component import compare
from components.evaluate.component import evaluate
from components.ingest.component import ingest
from components.judge.component import judge
from components.publish.component import publish
from components.sample.component import sample
from components.train.component import train_autoencoder, train_dcgan, train_vae
from genpipe import storage
from genpipe.cells import Family
from genpipe.errors import InputError
from pipelines.environments import Environment
from pipelines.parameters import Parameters
from pipelines.placement import pipeline_config
from pipelines.placement import place as place_in

DEFAULT = Parameters()
NAME = "latent-fanout"


def build(environment: Environment, parameters: Parameters = DEFAULT) -> Any:
    """Make the pipeline for one environment.

    The families are chosen here and not by a run's arguments: KFP can't leave a loop out while
    it runs without leaving out what collects from it, and a loop that decides inside each step
    would start a pod (on a GPU node) to do nothing.

    Args:
        environment: where its tasks run.
        parameters: ``families`` says which of the three branches it has, ``publish_to`` where
            ``ingest`` looks, before anything is trained, whether the pods may write.

    Returns:
        A KFP pipeline, whose arguments are those of ``Parameters`` but for ``families``.
    """
    families = parameters.families
    place = partial(place_in, environment)

    @dsl.pipeline(
        name=NAME,
        description="AE, VAE and DCGAN at several latent sizes: train, evaluate, sample, compare.",
        pipeline_config=pipeline_config(environment),
    )
    def latent_fanout(
        dataset: str = DEFAULT.dataset,
        source: str = DEFAULT.source,
        latent_sizes: list[int] = list(DEFAULT.latent_sizes),  # noqa: B006  (read once, by KFP)
        autoencoder_epochs: int = DEFAULT.autoencoder_epochs,
        autoencoder_batch_size: int = DEFAULT.autoencoder_batch_size,
        autoencoder_learning_rate: float = DEFAULT.autoencoder_learning_rate,
        code_activation: str = DEFAULT.code_activation,
        vae_epochs: int = DEFAULT.vae_epochs,
        vae_batch_size: int = DEFAULT.vae_batch_size,
        vae_learning_rate: float = DEFAULT.vae_learning_rate,
        beta: float = DEFAULT.beta,
        hidden_size: int = DEFAULT.hidden_size,
        dcgan_steps: int = DEFAULT.dcgan_steps,
        dcgan_batch_size: int = DEFAULT.dcgan_batch_size,
        dcgan_learning_rate: float = DEFAULT.dcgan_learning_rate,
        gen_interval: int = DEFAULT.gen_interval,
        share_generator_pass: bool = DEFAULT.share_generator_pass,
        precision: str = DEFAULT.precision,
        judge_epochs: int = DEFAULT.judge_epochs,
        samples: int = DEFAULT.samples,
        seed: int = DEFAULT.seed,
        publish_to: str = DEFAULT.publish_to,
        force_promote: bool = DEFAULT.force_promote,
    ) -> None:
        ingested = place(ingest(name=dataset, source=source, seed=seed), "ingest")
        if environment.api and environment.reaches(parameters.publish_to, "ingest"):
            # No input of the step: another place to publish to would make every step run again.
            ingested.set_env_variable("GENPIPE_PUBLISH_TO", parameters.publish_to)
        data = ingested.outputs["data"]
        judged = place(judge(data=data, epochs=judge_epochs, seed=seed, samples=samples), "judge")

        def fan_out(family: Family, train: Callable[[Any], PipelineTask]) -> dict[str, Any]:
            """One loop over the latent sizes; returns the channels of what its cells make."""
            with dsl.ParallelFor(
                latent_sizes, name=family.value, parallelism=environment.parallelism
            ) as latent_size:
                trained = place(train(latent_size), f"train_{family.value}", family)
                model = trained.outputs["model"]
                evaluated = place(evaluate(data=data, model=model, seed=seed), "evaluate", family)
                sampled = place(
                    sample(
                        data=data,
                        judge=judged.outputs["model"],
                        model=model,
                        count=samples,
                        seed=seed,
                    ),
                    "sample",
                    family,
                )
            return {
                f"{family.value}_models": model,
                f"{family.value}_evaluations": evaluated.outputs["evaluation"],
                f"{family.value}_samples": sampled.outputs["samples"],
            }

        def collected(*kinds: str) -> dict[str, Any]:
            """New ones for each step that reads them: the compiler writes into a Collected."""
            return {
                name: dsl.Collected(channel)
                for name, channel in cells.items()
                if name.endswith(kinds)
            }

        cells: dict[str, Any] = {}
        if Family.AUTOENCODER in families:
            cells |= fan_out(
                Family.AUTOENCODER,
                lambda latent_size: train_autoencoder(
                    data=data,
                    latent_size=latent_size,
                    epochs=autoencoder_epochs,
                    batch_size=autoencoder_batch_size,
                    learning_rate=autoencoder_learning_rate,
                    hidden_size=hidden_size,
                    code_activation=code_activation,
                    precision=precision,
                    seed=seed,
                ),
            )
        if Family.VAE in families:
            cells |= fan_out(
                Family.VAE,
                lambda latent_size: train_vae(
                    data=data,
                    latent_size=latent_size,
                    epochs=vae_epochs,
                    batch_size=vae_batch_size,
                    learning_rate=vae_learning_rate,
                    hidden_size=hidden_size,
                    beta=beta,
                    precision=precision,
                    seed=seed,
                ),
            )
        if Family.DCGAN in families:
            cells |= fan_out(
                Family.DCGAN,
                lambda latent_size: train_dcgan(
                    data=data,
                    latent_size=latent_size,
                    steps=dcgan_steps,
                    batch_size=dcgan_batch_size,
                    learning_rate=dcgan_learning_rate,
                    gen_interval=gen_interval,
                    share_generator_pass=share_generator_pass,
                    precision=precision,
                    seed=seed,
                ),
            )

        compared = place(
            compare(
                data=data,
                judge=judged.outputs["model"],
                families=[family.value for family in families],
                latent_sizes=latent_sizes,
                **collected("models", "evaluations", "samples"),
            ),
            "compare",
        )
        compared.set_caching_options(False)  # it names the run
        published = place(
            publish(
                data=data,
                judge=judged.outputs["model"],
                leaderboard=compared.outputs["leaderboard"],
                compared=compared.outputs["report"],
                target=publish_to,
                force=force_promote,
                **collected("models", "evaluations", "samples"),
            ),
            "publish",
        )
        published.set_caching_options(False)  # it writes outside the pipeline

    return latent_fanout


def compile_to(path: Path, environment: Environment, parameters: Parameters) -> None:
    """Compile the pipeline to a YAML file in ASCII, which every KFP database stores.

    See ``build`` for what of the parameters is compiled in.

    Raises:
        InputError: the file is not named as one.
        StepError: it can't be written; what was there before stays.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: name a .yaml file to write")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build(environment, parameters), str(file))
        content = file.read_bytes()
    content.decode("ascii")
    storage.write_bytes(path, content)
