"""Schedules: files that say when the pipeline runs, and the cluster's recurring runs made to match.

A recurring run of KFP can't be changed, so a changed schedule becomes a new one. Those that are
ours carry a marker in their description; all others are never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import kfp_server_api as api
from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from genpipe.errors import InputError, StepError, shown
from pipelines.cluster import runs
from pipelines.cluster.api import connect, ensure, listed
from pipelines.environments import Environment, KubernetesName, Section, explain, read_yaml
from pipelines.latent_fanout import compile_to
from pipelines.parameters import Parameters

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# The fields of KFP's cron and their highest values.
CRON_FIELDS = {"second": 59, "minute": 59, "hour": 23, "day": 31, "month": 12, "weekday": 6}
DAY, WEEKDAY = 3, 5
NUMBER = r"[0-9]{1,9}"
VALUE = rf"({NUMBER}|[A-Za-z]{{3}})(-({NUMBER}|[A-Za-z]{{3}}))?(/{NUMBER})?"
# What KFP's parser (robfig/cron 1.2) and crontab both know; L, W and # are neither's.
CRON_FIELD = re.compile(rf"\*(/{NUMBER})?|{VALUE}(,{VALUE})*")
# At the end of the description of a recurring run that is ours.
MARKER = re.compile(
    r"\[genpipe schedule=(?P<name>\S+) version=(?P<version>\S+) time_zone=(?P<time_zone>\S+)"
    r" digest=(?P<digest>[0-9a-f]{16})\]$"
)
# A run can be some seconds on its way before KFP lists it.
SETTLING = timedelta(minutes=2)
LAST_RUNS = 5


def kubeflow_cron(text: str) -> str:
    """Translate a cron expression to KFP's six fields, the second first.

    KFP would read five fields as second, minute, hour, day and month, and refuses 7 for Sunday.

    Args:
        text: five fields as in crontab, six with the second first, or ``@daily`` and the like.

    Raises:
        ValueError: it is none of these; the message names the field.
    """
    fields = MACROS.get(text.strip().lower(), text).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError(
            "write minute, hour, day, month and weekday, or the second before them, or one of "
            + ", ".join(MACROS)
        )
    for at in (DAY, WEEKDAY):
        fields[at] = "*" if fields[at] == "?" else fields[at]
    for (name, highest), field in zip(CRON_FIELDS.items(), fields, strict=True):
        if not CRON_FIELD.fullmatch(field):
            raise ValueError(f"{name} {shown(field)}: write *, */2, 5, 1-5, 1-5/2 or a list as 1,3")
        for step in re.findall(r"/(\d+)", field):
            if int(step) > highest:
                raise ValueError(f"{name} {shown(field)}: a step above {highest} is never reached")
    try:
        parsed = CronSim(" ".join(fields), datetime.now(UTC))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        name = {"day-of-month": "day", "day-of-week": "weekday"}.get(name, name)
        raise ValueError(f"bad {name}: out of range, or no such name or date") from None
    if not fields[WEEKDAY].startswith("*"):
        days = {day % 7 for day in parsed.weekdays if isinstance(day, int)}
        fields[WEEKDAY] = ",".join(str(day) for day in sorted(days))
    return " ".join(fields)


def _zone(name: str) -> tzinfo:
    # UTC needs no time zone data, which slim images lack.
    return UTC if name == "UTC" else ZoneInfo(name)


def _time_zone(name: str) -> str:
    try:
        _zone(name)
    except (OSError, ValueError, KeyError):
        raise ValueError("no such time zone; write UTC or a name as Europe/Zurich") from None
    return name


def _parameters(value: Any) -> Any:
    return Parameters.checked(value) if isinstance(value, Mapping) else value


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
        caching: whether KFP may take steps from its cache, as the environment lets it; a run
            that is to retrain is better without.
        version: ``pinned`` runs what ``apply`` uploaded; ``latest`` the version of the pipeline
            that was uploaded last when a run starts, whoever uploaded it.
        enabled: whether it runs by itself.
    """

    name: KubernetesName
    cron: Annotated[str, AfterValidator(kubeflow_cron)]
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    environment: Annotated[str, StringConstraints(min_length=1)] | None = None
    parameters: Annotated[Parameters, BeforeValidator(_parameters)] = Parameters()
    max_concurrency: Annotated[int, Field(ge=1, le=10)] = 1
    catch_up: bool = False
    caching: bool = False
    version: Literal["pinned", "latest"] = "pinned"
    enabled: bool = True

    @model_validator(mode="after")
    def _families_need_a_pin(self) -> Self:
        if self.version == "latest" and "families" in self.parameters.model_fields_set:
            raise ValueError(
                "version: latest runs the families of whichever version is newest; "
                "leave families out or pin the version"
            )
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a schedule of a YAML file.

        Raises:
            InputError: the file can't be read or is no schedule; the message names the file and
                the field.
        """
        try:
            content = read_yaml(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path}: no schedule ({reason})") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputError(f"{path}: {explain(error)}") from None

    @property
    def arguments(self) -> dict[str, Any]:
        """The runs' arguments: all of them, or for the latest version those that were given."""
        everything = self.parameters.arguments()
        if self.version == "pinned":
            return everything
        return {name: everything[name] for name in everything if self._gives(name)}

    def _gives(self, parameter: str) -> bool:
        return parameter in self.parameters.model_fields_set


def read_schedules(
    path: Path, default: str | None = None, tag: str | None = None
) -> list[tuple[Schedule, Environment]]:
    """Read a schedule, or all of a folder, each with its environment.

    Args:
        path: a YAML file, or a folder of them.
        default: environment (a file, or a shipped one's name) of schedules that name none.
        tag: of the images, in place of the environments'.

    Raises:
        InputError: a file is no schedule, there is none, one has no environment, or two of an
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
            raise InputError(f"{file}: name {schedule.name!r} is that of {known} too")
        if not schedule.caching:
            environment = environment.model_copy(update={"caching": False})
        targets.append((schedule, environment.with_tag(tag) if tag else environment))
    return targets


def _environment(schedule: Schedule, file: Path, default: str | None) -> Environment:
    if schedule.environment is None:
        if default is None:
            raise InputError(f"{file}: environment: give it here or with --environment")
        return Environment.read(default)
    beside = file.parent / schedule.environment
    return Environment.read(beside if beside.exists() else schedule.environment)


def due(cron: str, time_zone: str, moment: datetime, *, before: bool = False) -> datetime:
    """The next time after a moment that KFP's ``cron`` names, or the last ``before`` it."""
    return next(CronSim(cron, moment.astimezone(_zone(time_zone)), reverse=before))


def next_run(cron: str, time_zone: str) -> str:
    """The next run's time from now on, to the minute."""
    return f"{due(cron, time_zone, datetime.now(UTC)):%Y-%m-%d %H:%M %Z}"


@dataclass(frozen=True)
class Wanted:
    """The recurring run that a schedule stands for, as its marker and KFP's fields say it.

    Attributes:
        schedule: that it is of.
        environment: where it is.
        pipeline_version: name of the pinned version, or ``latest``.
    """

    schedule: Schedule
    environment: Environment
    pipeline_version: str

    @property
    def facts(self) -> dict[str, Any]:
        """What people compare: KFP can't change any of it in place."""
        schedule = self.schedule
        arguments = {f"parameters.{name}": value for name, value in schedule.arguments.items()}
        return {
            "cron": schedule.cron,
            "time_zone": schedule.time_zone,
            "max_concurrency": schedule.max_concurrency,
            "catch_up": schedule.catch_up,
            "version": self.pipeline_version,
            "service_account": self.environment.service_account,
            "pipeline_root": self.environment.pipeline_root,
            **arguments,
        }

    @property
    def digest(self) -> str:
        """Digest of the fields that cannot be changed in place."""
        content = {**self.facts, "experiment": self.environment.experiment}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def description(self) -> str:
        """A sentence for people, and the marker by which the recurring run is known as ours."""
        schedule = self.schedule
        return (
            "Made by `genpipe schedule apply`; change the schedule's file, not this. "
            f"[genpipe schedule={schedule.name} version={self.pipeline_version}"
            f" time_zone={schedule.time_zone} digest={self.digest}]"
        )


@dataclass(frozen=True)
class Recurring:
    """A recurring run of KFP that is ours.

    Attributes:
        id: of the recurring run.
        name: of its schedule.
        version: name of the pinned pipeline version, or ``latest``.
        time_zone: that its cron is read in.
        digest: of the schedule it was made from.
        enabled: whether it starts runs.
        created: when it was made.
        body: KFP's object.
    """

    id: str
    name: str
    version: str
    time_zone: str
    digest: str
    enabled: bool
    created: datetime
    body: api.V2beta1RecurringRun

    @classmethod
    def of(cls, body: api.V2beta1RecurringRun) -> Self | None:
        """Read KFP's object; None if the recurring run is not ours."""
        marker = MARKER.search(body.description or "")
        if not marker:
            return None
        return cls(
            id=body.recurring_run_id,
            enabled=body.status == "ENABLED",
            created=body.created_at,
            body=body,
            **marker.groupdict(),
        )

    @property
    def cron(self) -> str:
        """KFP's six fields."""
        return str(self.body.trigger.cron_schedule.cron)

    @property
    def arguments(self) -> dict[str, Any]:
        """The runs' arguments."""
        return dict(self.body.runtime_config.parameters or {}) if self.body.runtime_config else {}

    @property
    def facts(self) -> dict[str, Any]:
        """As those of ``Wanted``."""
        root = self.body.runtime_config.pipeline_root if self.body.runtime_config else None
        arguments = {f"parameters.{name}": value for name, value in self.arguments.items()}
        return {
            "cron": self.cron,
            "time_zone": self.time_zone,
            "max_concurrency": int(self.body.max_concurrency),
            "catch_up": not self.body.no_catchup,
            "version": self.version,
            "service_account": self.body.service_account or None,
            "pipeline_root": root or None,
            **arguments,
        }


@dataclass(frozen=True)
class Plan:
    """What makes the cluster match a schedule.

    Attributes:
        wanted: what is to be there.
        current: the recurring run that is just so but perhaps for being enabled; None if one is
            to be made.
        replaced: those that it takes the place of, newest first.
    """

    wanted: Wanted
    current: Recurring | None
    replaced: tuple[Recurring, ...]

    @property
    def verb(self) -> Literal["create", "replace", "resume", "pause", "keep"]:
        """What is done, but for tidying up what was replaced earlier."""
        if self.current is None:
            return "replace" if self.replaced else "create"
        if self.current.enabled != self.wanted.schedule.enabled:
            return "resume" if self.wanted.schedule.enabled else "pause"
        return "keep"

    @property
    def summary(self) -> str:
        """What is done, and when the schedule runs next."""
        schedule = self.wanted.schedule
        done = {
            "create": "new",
            "replace": "changed",
            "resume": "to be enabled",
            "pause": "to be disabled",
            "keep": "unchanged",
        }[self.verb]
        following = next_run(schedule.cron, schedule.time_zone) if schedule.enabled else "off"
        return f"{done}, next run {following}"

    @property
    def differences(self) -> list[str]:
        """A line for each field in which the wanted one differs from the one it replaces."""
        if self.current or not self.replaced:
            return []
        old, new = self.replaced[0].facts, self.wanted.facts
        lines = [
            f"{field}: {old.get(field)} -> {new.get(field)}"
            for field in {**old, **new}
            if old.get(field) != new.get(field)
        ]
        return lines or ["experiment: another one"]


def newest_first(found: list[Recurring], name: str) -> list[Recurring]:
    """The recurring runs of one schedule: the one in force, then those it takes the place of."""
    mine = [one for one in found if one.name == name]
    return sorted(mine, key=lambda one: (one.created, one.enabled), reverse=True)


def plan(wanted: Wanted, found: list[Recurring]) -> Plan:
    """Compare what is wanted with the recurring runs that are ours."""
    mine = newest_first(found, wanted.schedule.name)
    if mine and mine[0].digest == wanted.digest:
        return Plan(wanted, mine[0], tuple(mine[1:]))
    return Plan(wanted, None, tuple(mine))


class Schedules:
    """The schedules of one environment's cluster: ours and none else.

    Every method raises ``ApiError`` when the API refuses or does not answer.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.client = connect(environment)
        self._names: dict[Parameters, str] = {}

    def found(self) -> list[Recurring]:
        """All recurring runs of the namespace that are ours."""
        bodies = listed(
            self.client.recurring_runs.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            namespace=self.client.get_user_namespace(),
        )
        return [one for body in bodies if (one := Recurring.of(body))]

    def named(self, name: str) -> list[Recurring]:
        """The recurring runs of a schedule, the one in force first.

        Raises:
            InputError: there is no such schedule on the cluster.
        """
        found = self.found()
        mine = newest_first(found, name)
        if not mine:
            names = ", ".join(sorted({one.name for one in found})) or "none"
            raise InputError(f"no schedule {name!r} in {self.environment.name}; there are: {names}")
        return mine

    def runs(self, one: Recurring) -> Iterator[api.V2beta1Run]:
        """The runs that a recurring run started, newest first, fetched as they are asked for."""
        of_this = {"operation": "EQUALS", "key": "recurring_run_id", "stringValue": one.id}
        return listed(
            self.client.runs.run_service_list_runs,
            "runs",
            experiment_id=one.body.experiment_id,
            filter=json.dumps({"predicates": [of_this]}),
        )

    def in_flight(self, one: Recurring) -> int:
        """How many of its runs have not ended. Deleting the recurring run would end them."""
        return sum(run.state not in runs.ENDED for run in self.runs(one))

    def plan(self, schedule: Schedule) -> Plan:
        """What would make the cluster match a schedule; nothing is sent."""
        version = "latest"
        if schedule.version == "pinned":
            version = self._version_name(schedule.parameters)
        return plan(Wanted(schedule, self.environment, version), self.found())

    def carry_out(self, planned: Plan) -> Iterator[str]:
        """Do what a plan says; nothing is sent for what is so already.

        The new recurring run is made before the old one stops, so that no failure between the
        two leaves a schedule without one.

        Yields:
            A line on each thing done.
        """
        if planned.current is None:
            yield f"made recurring run {self._create(planned.wanted).id}"
        elif planned.verb != "keep":
            yield self.switch(planned.current, on=planned.wanted.schedule.enabled)
        for one in planned.replaced:
            reason = self.retire(one)
            if reason:
                yield f"left recurring run {one.id} disabled, {reason}: a later apply deletes it"
            else:
                yield f"deleted recurring run {one.id}"

    def switch(self, one: Recurring, *, on: bool) -> str:
        """Enable or disable a recurring run; its runs in flight go on either way."""
        if on:
            self.client.enable_recurring_run(one.id)
        else:
            self.client.disable_recurring_run(one.id)
        return f"{'enabled' if on else 'disabled'} recurring run {one.id}"

    def retire(self, one: Recurring) -> str | None:
        """Disable a recurring run, and delete it if that ends no run.

        Returns:
            Why it was left there, disabled; None if it is deleted.
        """
        settling = False
        if one.enabled:
            self.switch(one, on=False)
            now = datetime.now(UTC)
            last = due(one.cron, one.time_zone, now, before=True)
            settling = last > one.created and now - last < SETTLING
        in_flight = self.in_flight(one)
        if in_flight:
            return f"{in_flight} of its runs in flight"
        if settling:
            return "a run of it was due just now"
        self.client.delete_recurring_run(one.id)
        return None

    def delete(self, name: str) -> None:
        """Delete a schedule, unless that would end runs in flight.

        Raises:
            InputError: there is no such schedule on the cluster.
            StepError: it is disabled and still there.
        """
        reasons = [reason for one in self.named(name) if (reason := self.retire(one))]
        if reasons:
            raise StepError(
                f"{name} is disabled and not deleted, which would end runs ({reasons[0]}): "
                "delete it again when they have ended, or stop them with `genpipe stop`"
            )

    def trigger(self, one: Recurring) -> api.V2beta1Run:
        """Start a run now, of what the schedule would run.

        The run is not the recurring run's own: it does not count to ``max_concurrency``, and
        deleting the schedule does not end it.
        """
        return runs.start(
            self.client,
            api.V2beta1Run(
                display_name=f"{one.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
                description=f"started by hand from schedule {one.name}",
                experiment_id=one.body.experiment_id,
                pipeline_version_reference=one.body.pipeline_version_reference,
                runtime_config=one.body.runtime_config,
                service_account=one.body.service_account,
            ),
        )

    def overview(self) -> Iterator[tuple[str, ...]]:
        """Rows of a table, headings first: each schedule, and what it replaced if that is left."""
        yield "schedule", "state", "cron", "next run", "version", "last runs"
        found = self.found()
        for name in sorted({one.name for one in found}):
            for place, one in enumerate(newest_first(found, name)):
                state = "replaced" if place else "enabled" if one.enabled else "paused"
                following = next_run(one.cron, one.time_zone) if one.enabled else "-"
                states = [run.state or "PENDING" for run in islice(self.runs(one), LAST_RUNS)]
                last = " ".join(states).lower() or "-"
                yield name, state, one.cron, following, one.version, last

    def _version_name(self, parameters: Parameters) -> str:
        """The name that the pipeline, compiled now, has as a version on the cluster."""
        if parameters not in self._names:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "pipeline.yaml"
                compile_to(file, self.environment, parameters)
                self._names[parameters] = runs.version_name(file)
        return self._names[parameters]

    def _create(self, wanted: Wanted) -> Recurring:
        """Make a recurring run; one that was made though the answer was lost is found again."""
        schedule, environment = wanted.schedule, wanted.environment
        version = runs.upload_pipeline(self.client, environment, schedule.parameters)
        experiment = runs.ensure_experiment(self.client, environment)
        mode = api.RecurringRunMode.ENABLE if schedule.enabled else api.RecurringRunMode.DISABLE
        body = api.V2beta1RecurringRun(
            display_name=schedule.name,
            description=wanted.description,
            experiment_id=experiment.experiment_id,
            mode=mode,
            no_catchup=not schedule.catch_up,
            max_concurrency=str(schedule.max_concurrency),
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=schedule.cron)),
            pipeline_version_reference=api.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id,
                # Without a version KFP takes the newest each time a run starts.
                pipeline_version_id=(
                    version.pipeline_version_id if schedule.version == "pinned" else None
                ),
            ),
            runtime_config=api.V2beta1RuntimeConfig(
                parameters=schedule.arguments, pipeline_root=environment.pipeline_root
            ),
            service_account=environment.service_account,
        )
        # Not client.create_recurring_run, which refuses a pipeline without a version.
        create = self.client.recurring_runs.recurring_run_service_create_recurring_run
        made: Recurring = ensure(
            lambda: plan(wanted, self.found()).current,
            lambda: Recurring.of(create(recurring_run=body)),
        )
        return made


def apply(
    targets: Iterable[tuple[Schedule, Environment]], *, dry_run: bool = False
) -> Iterator[str]:
    """Make the clusters match schedules, one after the other.

    Args:
        targets: of ``read_schedules``.
        dry_run: send nothing, and say what would be done.

    Yields:
        Lines on each schedule: what differs, and what was done.

    Raises:
        StepError: an API refused or did not answer; applying again goes on from there.
    """
    clusters: list[Schedules] = []
    for schedule, environment in targets:
        cluster = next((known for known in clusters if known.environment == environment), None)
        if cluster is None:
            cluster = Schedules(environment)
            clusters.append(cluster)
        planned = cluster.plan(schedule)
        yield f"{schedule.name} in {environment.name}: {planned.summary}"
        yield from (f"  {line}" for line in planned.differences)
        if not dry_run:
            yield from (f"  {line}" for line in cluster.carry_out(planned))
            continue
        for one in planned.replaced:
            waits = cluster.in_flight(one)
            fate = f"disabled, {waits} of its runs in flight" if waits else "deleted"
            yield f"  recurring run {one.id} is to be {fate}"
