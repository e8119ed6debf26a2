"""Typed settings of one target: this machine, a CPU cluster, a cluster with a GPU node pool.

An environment is a YAML file; those that come with the package lie in ``deploy/environments``.
``pipelines.placement`` applies the settings to the pipeline's tasks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from genpipe.errors import InputError, did_you_mean
from genpipe.storage import Address, is_remote
from pipelines.parameters import Parameters
from pipelines.problems import between, explain, matching
from pipelines.quantities import Memory
from pipelines.settings import (
    STEPS,
    TRAIN,
    Api,
    GPUPool,
    Images,
    KubernetesName,
    Pool,
    Retries,
    Seconds,
    Section,
    Step,
    Variables,
    Volume,
    Wandb,
    check_amounts,
    read_yaml,
    seconds_of,
)
from pipelines.source import source_digest

SOURCE_TAG = "{source}"
# What an environment looks like, for who gives a file that is none.
FORM = "`name: ..., api: ...` (see deploy/environments/cluster-cpu.yaml)"
# In a shipped file, where a user's own bucket goes.
PLACEHOLDER = "BUCKET"
SHIPPED = Path("deploy") / "environments"
# How many threads work on one operation: TensorFlow's, and NumPy's linear algebra.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS")


def _checked(parameters: dict[Any, Any]) -> dict[Any, Any]:
    Parameters.checked(parameters)
    return parameters


Defaults = Annotated[dict[Any, Any], AfterValidator(_checked)]


class Environment(Section):
    """Where the pipeline's tasks run, and how.

    Attributes:
        name: of the environment.
        api: of the cluster; None for this machine.
        experiment: that runs belong to.
        pipeline_root: address that KFP keeps artifacts under.
        service_account: that step pods run as.
        images: of the steps.
        steps: what each kind of step asks for; ``default`` for those without an own entry.
        cpu: nodes of all steps that do not train on a GPU.
        gpu: nodes of the training steps; None where there are no accelerators.
        retries: of each task.
        time_limit_seconds: of each task, after which its pod is ended.
        parallelism: cells that run side by side; all of them where it is left out.
        parameters: defaults of the pipeline's parameters here, in place of the package's own.
        caching: whether KFP may take a step's result from an earlier run with the same inputs. It
            keeps them for ever.
        cache_days: where the data set's source may change, the days after which nothing is taken
            from the cache any more: less than those after which the store deletes artifacts.
        shared_memory: size of ``/dev/shm`` in training steps.
        volumes: that steps mount. A path of ``source``, ``publish_to`` or ``checkpoint_root`` must
            lie in one: all else that a pod writes is gone with it.
        wandb: where the steps log.
        notify: whether W&B tells of a run that failed, by a step at its end. It puts all other
            steps one level down on KFP's page. Where it is left out: if the steps log online.
        checkpoint_root: address that training writes checkpoints to and a pod that is tried again
            goes on from, ``gs://`` or a path in the pods; none are written where it is missing.
        checkpoint_seconds: time between two checkpoints at least.
        variables: environment variables of every step, none of them secret.
        ttl_seconds: how long a finished run's pods are kept.
    """

    name: KubernetesName
    api: Api | None = None
    experiment: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "genpipe"
    pipeline_root: (
        Annotated[
            str,
            matching(
                r"(gs|s3|minio)://[^/\s]+\S*",
                "write gs://BUCKET/PREFIX, s3://BUCKET/PREFIX or minio://BUCKET/PREFIX",
            ),
        ]
        | None
    ) = None
    service_account: KubernetesName | None = None
    images: Images
    steps: dict[str, Step] = Field(default_factory=dict)
    cpu: Pool = Pool()
    gpu: GPUPool | None = None
    retries: Retries = Retries()
    time_limit_seconds: Seconds | None = None
    parallelism: Annotated[int, between(1, 1000)] | None = None
    parameters: Defaults = Field(default_factory=dict)
    caching: bool = True
    cache_days: Annotated[int, between(1, 36_500)] | None = None
    shared_memory: Memory | None = None
    volumes: list[Volume] = Field(default_factory=list)
    wandb: Wandb = Wandb()
    notify: bool | None = None
    checkpoint_root: (
        Annotated[
            str, matching(r"(gs:/)?/\S+", "write gs://BUCKET/PREFIX, or a path in the steps' pods")
        ]
        | None
    ) = None
    checkpoint_seconds: Seconds | None = None
    variables: Variables = Field(default_factory=dict)
    ttl_seconds: Seconds | None = None
    _is_example: bool = PrivateAttr(False)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        mounting = {step for volume in self.volumes for step in volume.steps}
        for field, names in (("steps", {*self.steps} - {"default"}), ("volumes.steps", mounting)):
            for step in sorted(names - {*STEPS}):
                raise ValueError(f"{field}: unknown step {step!r}: choose from {', '.join(STEPS)}")
        if self.gpu and not self.images.gpu:
            raise ValueError("images.gpu: a GPU pool (gpu.count) needs an image that can use it")
        if self.api:
            self._fits_a_cluster()
        return self

    def _fits_a_cluster(self) -> None:
        for name, step in self.steps.items():
            if step.threads == "shared":
                raise ValueError(
                    f"steps.{name}.threads: shared divides the cores of this machine; give a "
                    "number for a cluster"
                )
        for name in STEPS:
            check_amounts(name, self.step(name))
        limit, longest = self.time_limit_seconds or 0, seconds_of(self.retries.max_duration)
        if self.retries.count and longest < limit:
            raise ValueError(
                f"retries.max_duration, {longest} s from the first attempt on, ends before an "
                f"attempt of time_limit_seconds ({limit}) does: it would never be tried again"
            )
        self.check_path("checkpoint_root", self.checkpoint_root or "", TRAIN)

    def check_path(self, setting: str, address: str, step: str) -> None:
        """Refuse a path that would be gone with a step's pod; a bucket's address passes.

        Raises:
            ValueError: no volume that the step mounts holds it; the message names the setting, the
                path and the step.
        """
        if address.startswith("/") and not self.reaches(address, step):
            raise ValueError(
                f"{setting}: {address} is in no volume that {step} mounts, and would be lost with"
                " its pod: give a gs:// address, or mount a claim there (volumes of the "
                f"environment {self.name})"
            )

    def reaches(self, address: str, step: str) -> bool:
        """Whether a step finds at an address what another one, or another run, left there."""
        in_a_volume = any(volume.holds(address, step) for volume in self.volumes)
        return bool(address) and (not address.startswith("/") or in_a_volume or self.api is None)

    @property
    def is_example(self) -> bool:
        """Whether its file is as it comes with the package, with any tag: nobody's own cluster."""
        return self._is_example

    def refuse_placeholders(self) -> None:
        """Refuse to use what a shipped file has where a user's own bucket goes.

        Raises:
            InputError: names the field.
        """
        for name in ("pipeline_root", "checkpoint_root"):
            address = getattr(self, name) or ""
            if is_remote(address) and Address.parse(address).bucket == PLACEHOLDER:
                raise InputError(
                    f"{self.name}: {name} still has the placeholder {PLACEHOLDER}: copy the file "
                    "and put your bucket's name there"
                )

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """Read an environment: a YAML file, or the name of one that comes with the package.

        Raises:
            InputError: there is no such file, or it is not an environment; the message names the
                file and the field.
        """
        path = Path(file)
        try:
            if not path.suffix and not path.exists():
                path = shipped_environments() / f"{file}.yaml"
            content = read_yaml(path, "an environment", FORM)
        except FileNotFoundError:
            names = sorted(found.stem for found in shipped_environments().glob("*.yaml"))
            meant = did_you_mean(file, names)
            raise InputError(
                f"there is no environment {file}: {meant + ' Or ' if meant else ''}use one of "
                f"{', '.join(names)}, or the path to an environment YAML file"
            ) from None
        except OSError as error:
            raise InputError(f"cannot read environment {file}: {error.strerror}") from None
        shipped = shipped_environments().glob("*.yaml")
        try:
            environment = cls.model_validate(content)
            environment._is_example = any(read_yaml(one, "", FORM) == content for one in shipped)
            return environment
        except ValidationError as error:
            raise InputError(f"{path}: {explain(error)}") from None

    def with_tag(self, tag: str) -> Self:
        """The environment with the images of another tag.

        Raises:
            InputError: ``tag`` can't be an image's tag.
        """
        if tag == "latest":
            raise InputError(
                "--tag latest is not allowed, because KFP's cache would return stale results: give "
                "a fixed tag such as the commit"
            )
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag):
            raise InputError(
                f"--tag {tag!r} is not a valid image tag: letters, digits, '_', '.', '-' only, "
                "at most 128"
            )

        def tagged(image: str | None) -> str | None:
            if image is None:
                return None
            folder, slash, name = image.partition("@")[0].rpartition("/")
            return f"{folder}{slash}{name.partition(':')[0]}:{tag}"

        images = {"cpu": tagged(self.images.cpu), "gpu": tagged(self.images.gpu)}
        return self.model_copy(update={"images": self.images.model_copy(update=images)})

    @property
    def notifies(self) -> bool:
        """Whether W&B tells of a run that failed."""
        return bool(self.wandb.secret_name) if self.notify is None else self.notify

    def on_gpu(self, step: str) -> bool:
        """Whether a step runs on the GPU pool."""
        return self.gpu is not None and step == TRAIN

    def image(self, step: str) -> str:
        """The image of a step."""
        image = self.images.gpu if self.on_gpu(step) else self.images.cpu
        assert image is not None  # checked when the environment was made
        return image.replace(SOURCE_TAG, source_digest(step) if SOURCE_TAG in image else "")

    def step(self, name: str) -> Step:
        """What a step asks for: its own entry over ``default``."""
        own = self.steps.get(name, Step()).model_dump(exclude_none=True)
        return self.steps.get("default", Step()).model_copy(update=own)

    def threads(self, step: str) -> int | None:
        """Threads that work on one operation; None leaves it to the libraries."""
        asked = self.step(step).threads
        if asked == "shared":
            return max(1, (os.cpu_count() or 1) // (self.parallelism or 1))
        return asked

    def step_variables(self, step: str) -> dict[str, str]:
        """The environment variables of a step that hold no secret."""
        threads = self.threads(step)
        checkpoints = self.checkpoint_root or ""
        # `ingest` sees to it, before anything is trained, that the pods may write there.
        told = step in (TRAIN, "ingest") and self.reaches(checkpoints, step)
        known = {
            "WANDB_PROJECT": self.wandb.project,
            "WANDB_ENTITY": self.wandb.entity,
            "WANDB_BASE_URL": self.wandb.base_url,
            **dict.fromkeys(THREADS, str(threads) if threads else None),
            "GENPIPE_CHECKPOINTS": checkpoints if told else None,
            "GENPIPE_CHECKPOINT_SECONDS": self.checkpoint_seconds if step == TRAIN else None,
            **self.variables,
        }
        return {name: str(value) for name, value in known.items() if value is not None}


def shipped_environments() -> Path:
    """The folder of the environments that come with the package, installed or in a checkout."""
    installed = Path(__file__).parent / SHIPPED
    return installed if installed.is_dir() else Path(__file__).parent.parent / SHIPPED


def local_environment() -> Environment:
    """This machine, without containers: ``deploy/environments/local.yaml``."""
    return Environment.read("local")
