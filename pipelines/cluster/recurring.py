"""Recurring runs of KFP that are ours: what is wanted, what is there, and what is to be done."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

import kfp_server_api as api

from pipelines.cluster.cron import next_run
from pipelines.cluster.schedule_files import Schedule
from pipelines.environments import Environment

# At the end of the description of a recurring run that is ours.
MARKER = re.compile(
    r"\[genpipe schedule=(?P<name>\S+) version=(?P<version>\S+) time_zone=(?P<time_zone>\S+)"
    r" digest=(?P<digest>[0-9a-f]{16})\]$"
)


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
        arguments = {
            f"parameters.{name}": value
            for name, value in schedule.arguments_in(self.environment).items()
        }
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
