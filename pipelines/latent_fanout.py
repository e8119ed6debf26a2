"""The pipeline: what runs after what, and nothing else.

ingest -> judge -> for cell in cells: train -> evaluate, sample -> compare -> publish

Before ``ingest`` comes ``fingerprint``, where the source may change, and after all, however they
ended, ``notify``, where W&B is to tell of a run that failed.
"""

# No `from __future__ import annotations` here: kfp reads the annotations as types.
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.compare.component import compare
from components.evaluate.component import evaluate
from components.fingerprint.component import fingerprint
from components.ingest.component import ingest
from components.judge.component import judge
from components.notify.component import notify
from components.publish.component import publish
from components.sample.component import sample
from components.train.component import train
from genpipe import storage
from genpipe.data.names import SOURCES
from genpipe.errors import InputError
from pipelines.environments import Environment
from pipelines.parameters import Parameters
from pipelines.placement import pipeline_config
from pipelines.placement import place as place_in

NAME = "latent-fanout"


def build(environment: Environment, parameters: Parameters | None = None) -> Any:
    """Make the pipeline for one environment.

    Args:
        environment: where its tasks run.
        parameters: defaults of its arguments, the environment's own if left out; ``publish_to`` is
            where ``ingest`` looks, before anything is trained, whether the pods may write, and with
            a place as the ``source`` the pipeline begins with a look at what that holds now.

    Returns:
        A KFP pipeline, whose arguments are those of ``Parameters.arguments``.
    """
    default = (parameters or Parameters.checked({}, environment.parameters)).arguments()
    looked_at = default["publish_to"]
    may_change = default["source"] not in SOURCES
    place = partial(place_in, environment)

    @dsl.pipeline(
        name=NAME,
        description="Generative models at several latent sizes: train, evaluate, sample, compare.",
        pipeline_config=pipeline_config(environment),
    )
    def latent_fanout(
        cells: list[str] = default["cells"],
        dataset: str = default["dataset"],
        source: str = default["source"],
        image_size: str = default["image_size"],
        channels: int = default["channels"],
        skip_bad: int = default["skip_bad"],
        precision: str = default["precision"],
        judge_epochs: int = default["judge_epochs"],
        samples: int = default["samples"],
        seed: int = default["seed"],
        publish_to: str = default["publish_to"],
        force_promote: bool = default["force_promote"],
        promotion_margin: str = default["promotion_margin"],
    ) -> None:
        with _told_of_failure(environment):
            read = {"image_size": image_size, "channels": channels, "skip_bad": skip_bad}
            if may_change:
                seen = place(
                    fingerprint(source=source, days=environment.cache_days or 0), "fingerprint"
                )
                seen.set_caching_options(False)  # it sees what is there now
                read["fingerprint"] = seen.outputs["Output"]
            ingested = place(ingest(name=dataset, source=source, **read), "ingest")
            if environment.api and environment.reaches(looked_at, "ingest"):
                # No input of the step: another place to publish to would make every step run again.
                ingested.set_env_variable("GENPIPE_PUBLISH_TO", looked_at)
            data = ingested.outputs["data"]
            judged = place(
                judge(data=data, epochs=judge_epochs, seed=seed, samples=samples), "judge"
            )
            the_judge = judged.outputs["model"]

            with dsl.ParallelFor(cells, name="cells", parallelism=environment.parallelism) as cell:
                trained = place(
                    train(data=data, cell=cell, precision=precision, seed=seed), "train"
                )
                model = trained.outputs["model"]
                evaluated = place(evaluate(data=data, model=model, seed=seed), "evaluate")
                sampled = place(
                    sample(data=data, judge=the_judge, model=model, count=samples, seed=seed),
                    "sample",
                )

            def collected() -> dict[str, Any]:
                """New ones for each step that reads them: the compiler writes into a Collected."""
                return {
                    "models": dsl.Collected(model),
                    "evaluations": dsl.Collected(evaluated.outputs["evaluation"]),
                    "samples": dsl.Collected(sampled.outputs["samples"]),
                }

            compared = place(
                compare(data=data, judge=the_judge, cells=cells, **collected()), "compare"
            )
            compared.set_caching_options(False)  # it names the run
            published = place(
                publish(
                    data=data,
                    judge=the_judge,
                    leaderboard=compared.outputs["leaderboard"],
                    compared=compared.outputs["report"],
                    target=publish_to,
                    force=force_promote,
                    margin=promotion_margin,
                    **collected(),
                ),
                "publish",
            )
            published.set_caching_options(False)  # it writes outside the pipeline

    return latent_fanout


def _told_of_failure(environment: Environment) -> AbstractContextManager[Any]:
    """What the steps are made within, for ``notify`` to run after them."""
    if not environment.notifies:
        return nullcontext()
    notified = place_in(environment, notify(), "notify")
    notified.set_caching_options(False)
    return dsl.ExitHandler(notified, name="steps")


def compile_to(path: Path, environment: Environment, parameters: Parameters | None = None) -> None:
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
