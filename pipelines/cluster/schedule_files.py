"""The files that say what runs by the clock: ``deploy/schedules`` has some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationError,
)

from genpipe.data.names import SOURCES
from genpipe.errors import InputError
from pipelines.cluster.cron import checked_time_zone, kubeflow_cron
from pipelines.environments import Defaults, Environment
from pipelines.parameters import Parameters
from pipelines.problems import between, explain
from pipelines.settings import KubernetesName, Section, read_yaml

# What a schedule looks like, for who gives a file that is none.
FORM = "`name: ..., cron: ...` (see deploy/schedules)"


class Schedule(Section):
    """When the pipeline runs, where and with what.

    Attributes:
        name: of the schedule and of its recurring run, unique in an environment.
        cron: when it runs, in KFP's six fields (five and ``@daily`` are translated).
        time_zone: that the cluster reads ``cron`` in. KFP has one for the whole cluster, UTC as
            shipped; this says which, to show the next run's time, and can't change it.
        environment: a file, from the schedule's folder, or the name of a shipped one.
        parameters: of the runs.
        max_concurrency: runs side by side; KFP takes 1 to 10.
        catch_up: whether each run missed in a pause is made up for, or only the last.
        caching: whether KFP may take steps from its cache, as the environment lets it. Left out,
            it may if the source may change: then nothing is trained when nothing is new.
        version: ``pinned`` runs what ``apply`` uploaded; ``latest`` the version of the pipeline
            that was uploaded last when a run starts, whoever uploaded it.
        enabled: whether it runs by itself.
    """

    name: KubernetesName
    cron: Annotated[str, AfterValidator(kubeflow_cron)]
    time_zone: Annotated[str, AfterValidator(checked_time_zone)] = "UTC"
    environment: Annotated[str, StringConstraints(min_length=1)] | None = None
    parameters: Defaults = Field(default_factory=dict)
    max_concurrency: Annotated[int, between(1, 10)] = 1
    catch_up: bool = False
    caching: bool | None = None
    version: Literal["pinned", "latest"] = "pinned"
    enabled: bool = True

    def takes_from_cache(self, environment: Environment) -> bool:
        """Whether a run may take steps from KFP's cache."""
        if self.caching is not None:
            return self.caching
        return {"source": "auto", **environment.parameters, **self.parameters}[
            "source"
        ] not in SOURCES

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a schedule of a YAML file.

        Raises:
            InputError: the file can't be read or is not a schedule; the message names the file and
                the field.
        """
        try:
            content = read_yaml(path, "a schedule", FORM)
        except OSError as error:
            raise InputError(f"cannot read schedule {path}: {error.strerror}") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path}: {explain(error)}") from None

    def parameters_in(self, environment: Environment) -> Parameters:
        """The runs' parameters: the schedule's over the environment's defaults.

        Raises:
            InputError: one of them has no effect.
        """
        parameters = Parameters.checked(self.parameters, environment.parameters)
        parameters.refuse_idle(self.parameters)
        return parameters

    def arguments_in(self, environment: Environment) -> dict[str, Any]:
        """The runs' arguments: all of them, or for the latest version those that were given."""
        everything = self.parameters_in(environment).arguments()
        if self.version == "pinned":
            return everything
        given = Parameters.checked(self.parameters).given
        return {name: value for name, value in everything.items() if name in given}


def read_schedules(
    path: Path, default: str | None = None, tag: str | None = None
) -> list[tuple[Schedule, Environment]]:
    """Read a schedule, or all of a folder, each with its environment.

    Args:
        path: a YAML file, or a folder of them.
        default: environment (a file, or a shipped one's name) of schedules that name none.
        tag: of the images, in place of the environments'.

    Raises:
        InputError: a file is not a schedule, there is no file, one has no environment, or two of an
            environment have the same name.
    """
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: no schedules (*.yaml) in this folder")
    targets: list[tuple[Schedule, Environment]] = []
    seen: dict[tuple[str, str], Path] = {}
    for file in files:
        schedule = Schedule.read(file)
        environment = _environment(schedule, file, default)
        known = seen.setdefault((environment.name, schedule.name), file)
        if known != file:
            raise InputError(
                f"{known} and {file} both have the name {schedule.name!r}: give each its own"
            )
        if not schedule.takes_from_cache(environment):
            environment = environment.model_copy(update={"caching": False})
        targets.append((schedule, environment if tag is None else environment.with_tag(tag)))
    return targets


def _environment(schedule: Schedule, file: Path, default: str | None) -> Environment:
    if schedule.environment is None:
        if default is None:
            raise InputError(
                f"{file} has no environment: add `environment:` to it, or give --environment FILE"
            )
        return Environment.read(default)
    beside = file.parent / schedule.environment
    return Environment.read(beside if beside.exists() else schedule.environment)
