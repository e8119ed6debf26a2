"""Schedules of a cluster: its recurring runs made to match the files that say when to run.

A recurring run of KFP can't be changed, so a changed schedule becomes a new one. Those that are
ours carry a marker in their description; all others are never touched.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import kfp_server_api as api

from genpipe.errors import InputError, StepError
from pipelines.cluster import runs
from pipelines.cluster.api import connect
from pipelines.cluster.cron import due, next_run
from pipelines.cluster.listing import ensure, listed
from pipelines.cluster.recurring import Plan, Recurring, Wanted, newest_first, plan
from pipelines.cluster.schedule_files import Schedule
from pipelines.environments import Environment
from pipelines.latent_fanout import compile_to
from pipelines.parameters import Parameters

# A run can be some seconds on its way before KFP lists it.
SETTLING = timedelta(minutes=2)
LAST_RUNS = 5


class Schedules:
    """The schedules of one environment's cluster: ours and none else.

    Every method raises ``ApiError`` when the API refuses or does not answer.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.client = connect(environment)
        self._names: dict[str, str] = {}  # by the parameters that are compiled in

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
            version = self._version_name(schedule.parameters_in(self.environment))
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
                f"schedule {name} was disabled but not deleted, because deleting it would "
                f"terminate active runs ({reasons[0]}): retry the delete when they finish, or stop "
                "them with `genpipe stop`"
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
                states = [runs.state_of(run) for run in islice(self.runs(one), LAST_RUNS)]
                last = " ".join(states) or "-"
                yield name, state, one.cron, following, one.version, last

    def _version_name(self, parameters: Parameters) -> str:
        """The name that the pipeline, compiled now, has as a version on the cluster."""
        compiled = runs.uploaded(self.environment, parameters)
        known = compiled.model_dump_json()
        if known not in self._names:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "pipeline.yaml"
                compile_to(file, self.environment, compiled)
                self._names[known] = runs.version_name(file)
        return self._names[known]

    def _create(self, wanted: Wanted) -> Recurring:
        """Make a recurring run; one that was made though the answer was lost is found again."""
        schedule, environment = wanted.schedule, wanted.environment
        parameters = schedule.parameters_in(environment)
        version = runs.upload_pipeline(self.client, environment, parameters)
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
                parameters=schedule.arguments_in(environment),
                pipeline_root=environment.pipeline_root,
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
        dry_run: send nothing, and say what would be done; where no API answers, what was checked.

    Yields:
        Lines on each schedule: what differs, and what was done.

    Raises:
        StepError: an API refused or did not answer; applying again goes on from there.
    """
    clusters: list[Schedules] = []
    silent: list[tuple[Environment, StepError]] = []
    for schedule, environment in targets:
        cluster = next((known for known in clusters if known.environment == environment), None)
        reason = next((why for known, why in silent if known.api == environment.api), None)
        if cluster is None and reason is None:
            try:
                cluster = Schedules(environment)
                clusters.append(cluster)
            except StepError as error:
                if not dry_run:
                    raise
                reason = error
                silent.append((environment, error))
        if cluster is None:
            with tempfile.TemporaryDirectory() as folder:
                parameters = schedule.parameters_in(environment)
                compile_to(Path(folder) / "pipeline.yaml", environment, parameters)
            following = next_run(schedule.cron, schedule.time_zone) if schedule.enabled else "off"
            yield f"{schedule.name} in {environment.name}: valid and compiles, next run {following}"
            yield f"  not compared with the cluster's schedules: {reason}"
            continue
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
