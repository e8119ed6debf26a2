"""Typed settings of one target: this machine, a CPU cluster, a cluster with a GPU node pool.

An environment is a YAML file; those that come with the package lie in ``deploy/environments``.
``pipelines.placement`` applies the settings to the pipeline's tasks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from genpipe.errors import InputError, shown
from pipelines.quantities import CPU, Memory, amount
from pipelines.source import source_digest

STEPS = (
    *("ingest", "judge", "train_autoencoder", "train_vae", "train_dcgan"),
    *("evaluate", "sample", "compare", "publish"),
)
# The steps that a GPU is worth its node for; the judge learns in seconds on CPUs.
TRAINING = ("train_autoencoder", "train_vae", "train_dcgan")

SOURCE_TAG = "{source}"
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
# Where KFP's launcher keeps artifacts, and what the image's steps write to or run from.
TAKEN_PATHS = ("/gcs", "/s3", "/minio", "/tmp", "/opt", "/dev", "/kfp-launcher")
SHIPPED = Path("deploy") / "environments"
LARGEST_FILE = 2**20


def _tagged(image: str) -> str:
    """An image whose content its name fixes: KFP's cache key holds the name and nothing else."""
    if "@sha256:" in image:
        return image
    _, separator, tag = image.rpartition("/")[2].partition(":")
    if not separator or not tag or tag == "latest":
        raise ValueError("name the image's tag, and not latest: a cache key holds only the name")
    return image


def _mountable(path: str) -> str:
    if any(PurePosixPath(path).is_relative_to(taken) for taken in TAKEN_PATHS):
        raise ValueError(f"KFP and the image need {', '.join(TAKEN_PATHS)} for themselves")
    return path


def _api_address(url: str) -> str:
    """What API requests begin with, out of that or of the address that a browser shows."""
    url = re.sub(r"(/apis/v[12]\w*(/.*)?)?/?([?#].*)?$", "", url)
    # Kubeflow's dashboard draws its frames' pages below /_/.
    url = re.sub(r"/_/pipeline\b.*", "/pipeline", url)
    try:
        urlsplit(url).port  # noqa: B018  (it is taken apart only here)
    except ValueError as error:
        raise ValueError(f"no address of a server ({error})") from None
    return url


def _not_secret(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if SECRET_NAME.search(name):
            raise ValueError(f"{name} looks like a secret, which only a Kubernetes Secret may hold")
    return variables


Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]+[smh]$")]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=317)]
KubernetesName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)
]
# As wandb takes a project's, and its server an entity's.
WandbName = Annotated[str, StringConstraints(pattern=r"^[^/\\#?%:]{1,128}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[!-~]+$"), AfterValidator(_tagged)]
Variables = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str],
    AfterValidator(_not_secret),
]


class Section(BaseModel):
    """A part of an environment: nothing unknown in it, and no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Api(Section):
    """How the Kubeflow Pipelines API is reached; secrets come from environment variables.

    ``authentication`` is as kfp's client offers it: ``none`` (a port-forward), ``token``
    (``GENPIPE_TOKEN``), ``service-account`` (a token volume in a pod), ``iap`` (with the OAuth
    client ``client_id``), ``cookies`` (``GENPIPE_COOKIES``, of a browser's login).
    """

    host: Annotated[
        str, StringConstraints(pattern=r"^https?://[^\s/]+\S*$"), AfterValidator(_api_address)
    ]
    namespace: KubernetesName
    authentication: Literal["none", "token", "service-account", "iap", "cookies"] = "none"
    client_id: str | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _iap_needs_a_client(self) -> Self:
        if self.authentication == "iap" and not self.client_id:
            raise ValueError("authentication iap needs client_id, the OAuth client of the proxy")
        return self


class Images(Section):
    """The images of the steps: ``gpu`` for training on a GPU pool, ``cpu`` for all else."""

    cpu: Image
    gpu: Image | None = None
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    pull_secrets: list[KubernetesName] = []


class Step(Section):
    """What one kind of step asks for.

    ``threads`` bounds the threads that work on one operation (TensorFlow's and NumPy's);
    ``shared`` divides the cores of the machine that compiles among the cells side by side.
    """

    cpu_request: CPU | None = None
    cpu_limit: CPU | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    threads: Annotated[int, Field(ge=1)] | Literal["shared"] | None = None


class Toleration(Section):
    """A Kubernetes toleration."""

    key: Label | None = None
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Pool(Section):
    """Which nodes take a step. ``spot`` asks for nodes that may be taken back (GKE's label)."""

    node_selector: dict[Label, str] = {}
    tolerations: list[Toleration] = []
    spot: bool = False


class GPUPool(Pool):
    """Nodes with accelerators: the resource's name, and how many of it a step gets."""

    resource: Label = "nvidia.com/gpu"
    count: Annotated[int, Field(ge=1, le=64)] = 1


class Retries(Section):
    """How often a failed task is tried again, how long is waited before it, and until when.

    ``max_duration`` is Argo's ``maxDuration``: the whole time since the first attempt began,
    trainings included, after which a task that fails is not tried again.
    """

    count: Annotated[int, Field(ge=0, le=20)] = 0
    backoff: Duration = "30s"
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    max_duration: Duration = "24h"


class Volume(Section):
    """A PersistentVolumeClaim that steps mount: its name, where, and in which steps (all)."""

    claim: KubernetesName
    path: Annotated[str, StringConstraints(pattern=r"^(/[^/\s]+)+$"), AfterValidator(_mountable)]
    steps: list[str] = list(STEPS)

    def holds(self, path: str, step: str) -> bool:
        """Whether a path of a step's pod lies in it."""
        return step in self.steps and PurePosixPath(normpath(path)).is_relative_to(self.path)


class Wandb(Section):
    """Where the steps log. The key comes from ``secret_name``; without one, runs are offline."""

    project: WandbName | None = None
    entity: WandbName | None = None
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = None
    secret_name: KubernetesName | None = None
    secret_key: str = "WANDB_API_KEY"


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
        parallelism: cells of a family that run side by side; 0 for all of them.
        caching: whether KFP may take a step's result from an earlier run with the same inputs. It
            keeps them for ever, and does not look behind an address.
        shared_memory: size of ``/dev/shm`` in training steps.
        volumes: that steps mount. A path of ``source``, ``publish_to`` or ``checkpoint_root`` must
            lie in one: all else that a pod writes is gone with it.
        wandb: where the steps log.
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
        Annotated[str, StringConstraints(pattern=r"^(gs|s3|minio)://[^/\s]+\S*$")] | None
    ) = None
    service_account: KubernetesName | None = None
    images: Images
    steps: dict[str, Step] = {}
    cpu: Pool = Pool()
    gpu: GPUPool | None = None
    retries: Retries = Retries()
    time_limit_seconds: Seconds | None = None
    parallelism: Annotated[int, Field(ge=0, le=1000)] = 0
    caching: bool = True
    shared_memory: Memory | None = None
    volumes: list[Volume] = []
    wandb: Wandb = Wandb()
    checkpoint_root: Annotated[str, StringConstraints(pattern=r"^(gs:/)?/\S+$")] | None = None
    checkpoint_seconds: Seconds | None = None
    variables: Variables = {}
    ttl_seconds: Seconds | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        mounting = {step for volume in self.volumes for step in volume.steps}
        for field, names in (("steps", {*self.steps} - {"default"}), ("volumes.steps", mounting)):
            for step in sorted(names - {*STEPS}):
                raise ValueError(f"{field}: there is no step {step}: {', '.join(STEPS)}")
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
            _check_amounts(name, self.step(name))
        limit, longest = self.time_limit_seconds or 0, seconds_of(self.retries.max_duration)
        if self.retries.count and longest < limit:
            raise ValueError(
                f"retries.max_duration: {longest} s from the first attempt on are over before an "
                f"attempt of time_limit_seconds, {limit}, is: it would not be tried again"
            )
        for trained in TRAINING:
            self.check_path("checkpoint_root", self.checkpoint_root or "", trained)

    def check_path(self, setting: str, address: str, step: str) -> None:
        """Refuse a path that would be gone with a step's pod; a bucket's address passes.

        Raises:
            ValueError: no volume that the step mounts holds it; the message names the setting, the
                path and the step.
        """
        if address.startswith("/") and not self.reaches(address, step):
            raise ValueError(
                f"{setting}: {address} lies in no volume that {step} mounts, and would be gone with"
                " its pod: give a gs:// address, or mount a claim there (volumes of the "
                f"environment {self.name})"
            )

    def reaches(self, address: str, step: str) -> bool:
        """Whether a step finds at an address what another one, or another run, left there."""
        in_a_volume = any(volume.holds(address, step) for volume in self.volumes)
        return bool(address) and (not address.startswith("/") or in_a_volume or self.api is None)

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
            content = read_yaml(path)
        except (OSError, ValueError) as error:
            names = ", ".join(sorted(found.stem for found in shipped_environments().glob("*.yaml")))
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{file}: no environment ({reason}); shipped are {names}") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path}: {explain(error)}") from None

    def with_tag(self, tag: str) -> Self:
        """The environment with the images of another tag.

        Raises:
            InputError: ``tag`` can't be an image's tag.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag) or tag == "latest":
            raise InputError(f"tag {tag!r}: an image's tag, as the commit it was built from")

        def tagged(image: str | None) -> str | None:
            if image is None:
                return None
            folder, slash, name = image.partition("@")[0].rpartition("/")
            return f"{folder}{slash}{name.partition(':')[0]}:{tag}"

        images = {"cpu": tagged(self.images.cpu), "gpu": tagged(self.images.gpu)}
        return self.model_copy(update={"images": self.images.model_copy(update=images)})

    def on_gpu(self, step: str) -> bool:
        """Whether a step runs on the GPU pool."""
        return self.gpu is not None and step in TRAINING

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
            return max(1, (os.cpu_count() or 1) // max(1, self.parallelism))
        return asked


def _check_amounts(name: str, step: Step) -> None:
    """Kubernetes refuses a pod that asks for more than it may use, after a run has started."""
    for kind in ("cpu", "memory"):
        request, limit = getattr(step, f"{kind}_request"), getattr(step, f"{kind}_limit")
        if request and limit and amount(request) > amount(limit):
            raise ValueError(
                f"steps: {name} asks for {kind} {request} ({kind}_request), above its "
                f"{kind}_limit {limit}"
            )


def seconds_of(duration: str) -> int:
    """``30s``, ``10m`` or ``24h`` in seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def read_yaml(path: Path) -> Any:
    """What a settings file holds.

    Raises:
        OSError: it can't be read.
        ValueError: it is no YAML, or too large for settings.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE:,} bytes")
    try:
        return yaml.safe_load(content.decode())
    except Exception as error:  # PyYAML raises anything of a value that does not fit its tag
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it is no YAML: {reason}") from None


def explain(error: ValidationError) -> str:
    """One line on the first problem pydantic found: the field, what is wrong, what was given."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{where}: no such field"
    if problem["type"] == "missing":
        return f"{where}: this field is required"
    given = problem["input"]
    value = f", got {shown(given)}" if isinstance(given, (str, int, float, type(None))) else ""
    return f"{where}: {what}{value}" if where else what


def shipped_environments() -> Path:
    """The folder of the environments that come with the package, installed or in a checkout."""
    installed = Path(__file__).parent / SHIPPED
    return installed if installed.is_dir() else Path(__file__).parent.parent / SHIPPED


def local_environment() -> Environment:
    """This machine, without containers: ``deploy/environments/local.yaml``."""
    return Environment.read("local")
