"""What settings files are made of: sections, checked field by field, and how a file is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    model_validator,
)

from genpipe.errors import InputError
from genpipe.tracking.account import ENTITY
from pipelines.problems import between, matching, refuse_unknown
from pipelines.quantities import CPU, Memory, amount

STEPS = (
    *("fingerprint", "ingest", "judge", "train", "evaluate", "sample", "compare"),
    *("publish", "notify"),
)
# Steps that leave nothing in most runs.
OPTIONAL = ("fingerprint", "notify")
# The step that a GPU is worth its node for; the judge learns in seconds on CPUs.
TRAIN = "train"
# What the newest run is called, here and on a cluster.
LATEST = "latest"
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
# Where KFP's launcher keeps artifacts, and what the image's steps write to or run from.
TAKEN_PATHS = ("/gcs", "/s3", "/minio", "/tmp", "/opt", "/dev", "/kfp-launcher")
LARGEST_FILE = 2**20


def _tagged(image: str) -> str:
    """An image whose content its name fixes: KFP's cache key holds the name and nothing else."""
    if "@sha256:" in image:
        return image
    _, separator, tag = image.rpartition("/")[2].partition(":")
    if not separator or not tag or tag == "latest":
        raise ValueError(
            "give the image an explicit tag other than latest (for example genpipe-cpu:1a2b3c4), "
            "or a digest: KFP caches by image name, so a reused tag would return stale results"
        )
    return image


def _mountable(path: str) -> str:
    if any(PurePosixPath(path).is_relative_to(taken) for taken in TAKEN_PATHS):
        raise ValueError(f"{', '.join(TAKEN_PATHS)} are reserved for KFP and the image")
    return path


def _api_address(url: str) -> str:
    """What API requests begin with, out of that or of the address that a browser shows."""
    url = re.sub(r"(/apis/v[12]\w*(/.*)?)?/?([?#].*)?$", "", url)
    # Kubeflow's dashboard draws its frames' pages below /_/.
    url = re.sub(r"/_/pipeline\b.*", "/pipeline", url)
    try:
        urlsplit(url).port  # noqa: B018  (it is taken apart only here)
    except ValueError as error:
        raise ValueError(f"not the address of a server ({error})") from None
    return url


def _not_secret(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if SECRET_NAME.search(name):
            raise ValueError(f"{name} looks like a secret, which only a Kubernetes Secret may hold")
    return variables


Duration = Annotated[str, matching(r"[0-9]+[smh]", "write a number and s, m or h, e.g. 30s")]


Seconds = Annotated[int, between(1, 2**31 - 1)]


Label = Annotated[str, StringConstraints(min_length=1, max_length=317)]


KubernetesName = Annotated[
    str,
    StringConstraints(max_length=253),
    matching(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        "use lower-case letters, digits, '-' and '.', starting and ending with a letter or digit",
    ),
]


WebAddress = Annotated[
    str,
    matching(
        r"https?://[^\s/]\S*",
        "start it with http:// or https://, e.g. http://localhost:8888",
    ),
]


# As wandb takes a project's, and its server an entity's.
Project = Annotated[
    str, matching(r"[^/\\#?%:]{1,128}", "use 1 to 128 characters, none of / \\ # ? % :")
]


Entity = Annotated[
    str,
    matching(ENTITY.pattern, "give a W&B user or team name; no spaces and none of / \\ # ? % :"),
]


Image = Annotated[str, matching(r"[!-~]+", "an image name has no spaces"), AfterValidator(_tagged)]


Variables = Annotated[
    dict[
        Annotated[
            str,
            matching(r"[A-Za-z_][A-Za-z0-9_]*", "use letters, digits and _, not a digit first"),
        ],
        str,
    ],
    AfterValidator(_not_secret),
]


class Section(BaseModel):
    """A part of an environment: nothing unknown in it, and no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            refuse_unknown(content, list(cls.model_fields))
        return content


class Api(Section):
    """How the Kubeflow Pipelines API is reached; secrets come from environment variables.

    ``authentication`` is as kfp's client offers it: ``none`` (a port-forward), ``token``
    (``GENPIPE_TOKEN``), ``service-account`` (a token volume in a pod), ``iap`` (with the OAuth
    client ``client_id``), ``cookies`` (``GENPIPE_COOKIES``, of a browser's login).
    """

    host: Annotated[WebAddress, AfterValidator(_api_address)]
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
    count: Annotated[int, between(1, 64)] = 1


class Retries(Section):
    """How often a failed task is tried again, how long is waited before it, and until when.

    ``max_duration`` is Argo's ``maxDuration``: the whole time since the first attempt began,
    trainings included, after which a task that fails is not tried again.
    """

    count: Annotated[int, between(0, 20)] = 0
    backoff: Duration = "30s"
    factor: Annotated[float, between(1, 10)] = 2.0
    max_duration: Duration = "24h"


class Volume(Section):
    """A PersistentVolumeClaim that steps mount: its name, where, and in which steps (all)."""

    claim: KubernetesName
    path: Annotated[
        str,
        matching(r"(/[^/\s]+)+", "give a path from the root, e.g. /data, without spaces"),
        AfterValidator(_mountable),
    ]
    steps: list[str] = list(STEPS)

    def holds(self, path: str, step: str) -> bool:
        """Whether a path of a step's pod lies in it."""
        return step in self.steps and PurePosixPath(normpath(path)).is_relative_to(self.path)


class Wandb(Section):
    """Where the steps log. The key comes from ``secret_name``; without one, runs are offline."""

    project: Project | None = None
    entity: Entity | None = None
    base_url: WebAddress | None = None
    secret_name: KubernetesName | None = None
    secret_key: str = "WANDB_API_KEY"


def check_amounts(name: str, step: Step) -> None:
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


class _TwiceError(yaml.MarkedYAMLError):
    """A key that is given twice."""


class _Loader(yaml.SafeLoader):
    """YAML in which no key may be given twice: PyYAML itself takes the last, without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _TwiceError(
                    problem=f"{key.value} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, kind: str, form: str) -> Mapping[Any, Any]:
    """What a settings file holds.

    Args:
        path: of the file.
        kind: what it is to be, with its article: ``an environment``.
        form: how one begins, and where one is to be seen, for who wrote something else.

    Raises:
        OSError: it can't be read.
        InputError: it is no YAML, no mapping, or too large for settings.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise InputError(f"{path}: it is larger than {LARGEST_FILE:,} bytes")
    try:
        found = _Loader(content.decode()).get_single_data()
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise InputError(f"{path} is not a text file") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = "" if isinstance(error, _TwiceError) else "invalid YAML: "
        raise InputError(f"{path}{place}: {what}{error.problem}") from None
    except RecursionError:
        raise InputError(f"{path}: invalid YAML: it is nested too deep") from None
    except Exception as error:  # PyYAML raises anything of a value that does not fit its tag
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: invalid YAML: {reason}") from None
    if found is None:
        raise InputError(f"{path} is empty")
    if not isinstance(found, Mapping):
        raise InputError(f"{path} is not {kind}: it must be YAML of the form {form}")
    return found
