"""Schedules: what a file may say, and what `apply` sends to a cluster and when it sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kfp_server_api as models
import pytest
import yaml
from click.testing import CliRunner, Result

from genpipe.errors import InputError, StepError
from pipelines.cli import main
from pipelines.cluster.api import ApiError
from pipelines.cluster.cron import due, kubeflow_cron
from pipelines.cluster.schedule_files import Schedule, read_schedules
from pipelines.cluster.schedules import apply
from pipelines.environments import Environment
from pipelines.parameters import Parameters
from tests.pipelines.cluster.fake_api import FakeApi

SHIPPED = Path(__file__).parents[3] / "deploy" / "schedules"


def write(folder: Path, file: str = "weekly.yaml", **fields: Any) -> Path:
    """A schedule's file: weekly, with these fields changed (None takes one out)."""
    content = {"name": "weekly", "cron": "0 3 * * 0", "environment": "cluster-cpu", **fields}
    path = folder / file
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("0 3 * * 0", "0 0 3 * * 0"),
        ("*/15 * * * *", "0 */15 * * * *"),
        ("30 0 3 ? * 2-6", "30 0 3 * * 2,3,4,5,6"),
        ("0 0 * * 7", "0 0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 0 * * 0,5,6"),
        ("0 0 * jan MON-FRI", "0 0 0 * jan 1,2,3,4,5"),
        ("@daily", "0 0 0 * * *"),
        ("@weekly", "0 0 0 * * 0"),
    ],
)
def test_cron_is_sent_with_six_fields_and_sunday_as_0(written: str, sent: str) -> None:
    assert kubeflow_cron(written) == sent
    assert kubeflow_cron(sent) == sent


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"corn": "x"}, "corn: unknown field: did you mean cron?"),
        ({"name": None}, "name is missing"),
        ({"name": "Every week"}, "name"),
        ({"cron": None}, "cron is missing"),
        ({"cron": 5}, "cron"),
        ({"cron": "0 3 * *"}, "cron: use five fields (minute hour"),
        ({"cron": "0 0 3 * * 0 2027"}, "cron: use five fields (minute hour"),
        ({"cron": "@fortnightly"}, "cron: use five fields (minute hour"),
        ({"cron": "60 3 * * 0"}, "cron: minute 60 is out of range (0-59)"),
        ({"cron": "0 24 * * 0"}, "cron: hour 24 is out of range (0-23)"),
        ({"cron": "0 3 0 * *"}, "cron: day 0 is out of range (1-31)"),
        ({"cron": "0 3 * 13 *"}, "cron: month 13 is out of range (1-12)"),
        ({"cron": "0 3 * * 8"}, "cron: weekday 8 is out of range (0-7)"),
        ({"cron": "0 3 * * FOO"}, "cron: invalid weekday"),
        ({"cron": "0 3 30 2 *"}, "cron: it would never run, because no such date"),
        ({"cron": "0 5-1 * * *"}, "cron: invalid hour"),
        ({"cron": "*/0 * * * *"}, "cron: invalid minute"),
        ({"cron": "*/90 * * * *"}, "cron: minute '*/90': a step above 59"),
        ({"cron": "0 3 L * *"}, "cron: day 'L'"),
        ({"cron": "1,,2 3 * * *"}, "cron: minute '1,,2'"),
        (
            {"time_zone": "Europe/Zurick"},
            "time_zone: unknown time zone: write UTC or a name like Europe/Zurich",
        ),
        ({"time_zone": "../UTC"}, "time_zone: unknown time zone"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_concurrency": 11}, "max_concurrency"),
        ({"max_concurrency": "1"}, "max_concurrency"),
        ({"catch_up": "no"}, "catch_up"),
        ({"enabled": 1}, "enabled"),
        ({"version": "newest"}, "version"),
        ({"parameters": [1]}, "parameters"),
        ({"parameters": {"vea_epochs": 3}}, "parameters: unknown parameter 'vea_epochs'"),
        ({"parameters": {"vae.epochs": "3"}}, "parameters: parameter vae.epochs must be a number"),
    ],
)
def test_a_bad_schedule_is_refused_with_file_and_field(
    tmp_path: Path, fields: dict[str, Any], told: str
) -> None:
    path = write(tmp_path, **fields)

    with pytest.raises(InputError) as refusal:
        read_schedules(path)

    assert str(refusal.value).startswith(f"{path}: {told}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"name: [", b"\xff\xfe\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weekly.yaml"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"weekly\.yaml") as refusal:
        read_schedules(path)

    assert "\n" not in str(refusal.value)


def test_the_environment_is_the_files_own_else_the_commands(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((SHIPPED.parent / "environments" / "cluster-cpu.yaml").read_text())
    folder = tmp_path / "schedules"
    folder.mkdir()
    write(folder, "a.yaml", name="a", environment="../mine.yaml")
    write(folder, "b.yaml", name="b", environment="gke-gpu")
    write(folder, "c.yaml", name="c", environment=None)

    targets = read_schedules(folder, "cluster-cpu", tag="3f2a91c")

    names = {schedule.name: environment.name for schedule, environment in targets}
    assert names == {"a": "cluster-cpu", "b": "gke-gpu", "c": "cluster-cpu"}
    assert {environment.images.cpu for _, environment in targets} == {"genpipe-cpu:3f2a91c"}
    with pytest.raises(InputError, match=r"c\.yaml has no environment: add"):
        read_schedules(folder)


def test_a_schedule_takes_from_the_cache_what_may_change_or_where_it_says_so(
    tmp_path: Path,
) -> None:
    own = {"dataset": "own", "source": "gs://bucket/images"}
    for name, options in {
        "a": {},
        "b": {"caching": True},
        "c": {"parameters": own},
        "d": {"parameters": own, "caching": False},
    }.items():
        write(tmp_path, f"{name}.yaml", name=name, environment="gke-gpu", **options)

    targets = read_schedules(tmp_path)

    assert [environment.caching for _, environment in targets] == [False, True, True, False]


@pytest.mark.parametrize("version", ["pinned", "latest"])
def test_each_run_of_a_schedule_looks_at_a_source_that_may_change(
    api: FakeApi, version: str
) -> None:
    own = {"dataset": "own", "source": "gs://bucket/images"}
    applied(api, parameters=own, version=version)

    (content,) = api.uploads.values()
    spec = next(yaml.safe_load_all(content))
    assert not spec["root"]["dag"]["tasks"]["fingerprint"]["cachingOptions"]
    assert only(api).runtime_config.parameters["source"] == "gs://bucket/images"


def test_a_folder_without_schedules_or_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no schedules"):
        read_schedules(tmp_path)
    write(tmp_path, "a.yaml")
    write(tmp_path, "b.yaml")

    with pytest.raises(InputError, match=r"a\.yaml and .*b\.yaml both have the name 'weekly'"):
        read_schedules(tmp_path)


def test_the_shipped_schedules_are_read_and_only_the_weekly_one_is_on() -> None:
    schedules = [schedule for schedule, _ in read_schedules(SHIPPED, "cluster-cpu")]

    assert {s.name: (s.cron, s.enabled, s.version) for s in schedules} == {
        "nightly": ("0 30 1 * * *", False, "latest"),
        "weekly": ("0 0 3 * * 0", True, "pinned"),
    }


TOLD = {"autoencoder": " epochs=50", "vae": " epochs=3", "dcgan": " gen_interval=200 steps=4000"}


def test_a_pinned_schedule_sends_every_argument_and_latest_only_those_given(tmp_path: Path) -> None:
    """With what the environment, which has longer trainings of its own, says of them."""
    given = {"vae.epochs": 3, "latent_sizes": [2, 5], "seed": 4}
    pinned = Schedule.read(write(tmp_path, parameters=given))
    latest = Schedule.read(write(tmp_path, parameters=given, version="latest"))

    environment = Environment.read("gke-gpu")
    cells = [f"{family}-{size}{told}" for family, told in reversed(TOLD.items()) for size in (2, 5)]
    assert pinned.arguments_in(environment).keys() == Parameters().arguments().keys()
    assert latest.arguments_in(environment) == {"cells": cells, "seed": 4}


def test_the_next_run_is_told_in_the_clusters_time_zone() -> None:
    monday = datetime(2026, 3, 23, 12, tzinfo=UTC)  # the week in which Zurich's clocks go forward

    assert due("0 0 4 * * 0", "UTC", monday) == datetime(2026, 3, 29, 4, tzinfo=UTC)
    assert due("0 0 4 * * 0", "Europe/Zurich", monday) == datetime(2026, 3, 29, 2, tzinfo=UTC)
    assert due("0 0 4 * * 0", "UTC", monday, before=True) == datetime(2026, 3, 22, 4, tzinfo=UTC)


# Never due while tests run, so that nothing is waited for when it is replaced.
LEAP_DAY = "0 3 29 2 *"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


@pytest.fixture
def invoke(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`genpipe schedule ...`, with an environment's file that says how the server is reached."""
    environment = api.environment().model_dump(mode="json", exclude_none=True)
    (tmp_path / "fake.yaml").write_text(yaml.safe_dump(environment))
    write(tmp_path, "leap.yaml", name="leap", cron=LEAP_DAY, environment=None)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(
        main, ["schedule", *arguments, "--environment", "fake.yaml"]
    )


def applied(api: FakeApi, dry_run: bool = False, **fields: Any) -> list[str]:
    """Apply a schedule of the leap day with these fields, and return the lines told."""
    schedule = Schedule.model_validate({"name": "leap", "cron": LEAP_DAY, **fields})
    return list(apply([(schedule, api.environment())], dry_run=dry_run))


def writes(api: FakeApi) -> list[tuple[str, str]]:
    """What was sent that changes something, since the last call."""
    sent = [(one.method, one.path.partition("v2beta1")[2]) for one in api.requests]
    api.requests.clear()
    return [(method, path) for method, path in sent if method != "GET"]


def only(api: FakeApi) -> Any:
    """The one recurring run that is there."""
    (recurring,) = api.recurring_runs.values()
    return recurring


def enabled(api: FakeApi) -> list[Any]:
    return [one for one in api.recurring_runs.values() if one.status == "ENABLED"]


def start_run(api: FakeApi, recurring: Any, state: str = "RUNNING") -> Any:
    """A run that the cluster started of a recurring run."""
    run = models.V2beta1Run(
        run_id=f"run-{len(api.runs)}",
        display_name=f"run-{len(api.runs)}",
        state=state,
        experiment_id=recurring.experiment_id,
        recurring_run_id=recurring.recurring_run_id,
        created_at=datetime.now(UTC),
    )
    api.runs[run.run_id] = run
    return run


def test_apply_makes_a_recurring_run_that_says_all_that_kfp_would_guess(api: FakeApi) -> None:
    applied(api, parameters={"vae.epochs": 3}, max_concurrency=2, enabled=False)

    made = only(api)
    assert made.display_name == "leap"
    assert made.trigger.cron_schedule.cron == f"0 {LEAP_DAY}"
    assert (str(made.max_concurrency), made.no_catchup, made.mode) == ("2", True, "DISABLE")
    assert made.service_account == "runner"
    assert made.runtime_config.pipeline_root == "gs://bucket/root"
    assert made.runtime_config.parameters["cells"][3] == "vae-2 epochs=3"
    assert made.runtime_config.parameters["dataset"] == "mnist"
    (version,) = api.versions
    assert made.pipeline_version_reference.pipeline_version_id == version


def test_the_latest_version_is_left_to_kfp(api: FakeApi) -> None:
    applied(api, version="latest", parameters={"vae.epochs": 3})

    reference = only(api).pipeline_version_reference
    assert reference.pipeline_id in api.pipelines
    assert reference.pipeline_version_id is None
    sent = only(api).runtime_config.parameters
    assert sent == {"cells": Parameters.checked({"vae.epochs": 3}).arguments()["cells"]}


@pytest.mark.parametrize("version", ["pinned", "latest"])
def test_applying_again_sends_nothing(api: FakeApi, version: str) -> None:
    applied(api, version=version)
    writes(api)

    (line,) = applied(api, version=version)

    assert line.startswith("leap in fake: unchanged, next run ")
    assert writes(api) == []


def test_a_dry_run_sends_nothing_and_shows_the_difference(api: FakeApi) -> None:
    (line,) = applied(api, dry_run=True)
    assert line.startswith("leap in fake: new, next run ")
    assert writes(api) == []
    applied(api)
    old = only(api).recurring_run_id
    writes(api)

    lines = applied(api, dry_run=True, cron="@daily", parameters={"seed": 7}, max_concurrency=3)

    assert lines[0].startswith("leap in fake: changed, next run ")
    assert lines[1:] == [
        f"  cron: 0 {LEAP_DAY} -> 0 0 0 * * *",
        "  max_concurrency: 1 -> 3",
        "  parameters.seed: 0 -> 7",
        f"  recurring run {old} is to be deleted",
    ]
    assert writes(api) == []


@pytest.mark.parametrize(
    "change",
    [
        {"cron": "0 4 29 2 *"},
        {"time_zone": "Europe/Zurich"},
        {"catch_up": True},
        {"max_concurrency": 2},
        {"parameters": {"seed": 1}},
        {"parameters": {"families": ["vae"]}},
        {"version": "latest"},
    ],
)
def test_a_change_makes_the_new_one_before_the_old_one_ends(
    api: FakeApi, change: dict[str, Any]
) -> None:
    applied(api)
    old = only(api).recurring_run_id
    writes(api)

    applied(api, **change)

    sent = [(method, path) for method, path in writes(api) if "recurringruns" in path]
    assert sent == [
        ("POST", "/recurringruns"),
        ("POST", f"/recurringruns/{old}:disable"),
        ("DELETE", f"/recurringruns/{old}"),
    ]
    assert only(api).status == "ENABLED"


def test_another_tag_of_the_images_is_a_change_of_what_is_pinned(api: FakeApi) -> None:
    applied(api)
    schedule = Schedule(name="leap", cron=LEAP_DAY)

    lines = list(apply([(schedule, api.environment().with_tag("3f2a91c"))]))

    first, second = [version.display_name for version in api.versions.values()]
    assert f"  version: {first} -> {second}" in lines
    reference = only(api).pipeline_version_reference
    assert api.versions[reference.pipeline_version_id].display_name == second


def test_an_old_one_with_runs_in_flight_is_deleted_by_a_later_apply(api: FakeApi) -> None:
    applied(api)
    old = only(api)
    run = start_run(api, old)
    start_run(api, old, "SUCCEEDED")

    lines = applied(api, max_concurrency=2)

    assert old.status == "DISABLED"
    assert len(api.recurring_runs) == 2
    assert "1 of its runs in flight" in lines[-1]
    writes(api)
    applied(api, max_concurrency=2)
    assert writes(api) == []
    run.state = "FAILED"
    applied(api, max_concurrency=2)
    assert writes(api) == [("DELETE", f"/recurringruns/{old.recurring_run_id}")]
    assert only(api).status == "ENABLED"


def test_an_old_one_that_was_due_just_now_is_kept_until_kfp_would_list_its_run(
    api: FakeApi,
) -> None:
    applied(api, cron="* * * * *")
    old = only(api)

    lines = applied(api)

    assert old.recurring_run_id in api.recurring_runs
    assert old.status == "DISABLED"
    assert "due just now" in lines[-1]


def test_a_change_taken_back_while_runs_go_on_leaves_one_in_force(api: FakeApi) -> None:
    applied(api)
    start_run(api, only(api))
    applied(api, max_concurrency=2)

    applied(api)

    assert [str(one.max_concurrency) for one in enabled(api)] == ["1"]
    assert len(api.recurring_runs) == 2


def test_schedules_of_others_are_never_touched(api: FakeApi, invoke: Callable[..., Result]) -> None:
    applied(api)
    mine = only(api)
    bodies = {
        "theirs": {**mine.to_dict(), "description": "Made by hand"},
        "other": {**mine.to_dict(), "description": mine.description.replace("=leap", "=leap2")},
    }
    for key, body in bodies.items():
        copy = models.V2beta1RecurringRun(**body | {"recurring_run_id": key})
        copy.trigger = mine.trigger
        api.recurring_runs[key] = copy
    writes(api)

    applied(api, max_concurrency=2)
    result = invoke("delete", "leap")

    assert result.exit_code == 0
    assert set(api.recurring_runs) == {"theirs", "other"}
    assert not [path for _, path in writes(api) if "theirs" in path or "other" in path]


def test_enabling_and_disabling_needs_no_new_recurring_run(api: FakeApi) -> None:
    applied(api)
    made = only(api).recurring_run_id
    writes(api)

    applied(api, enabled=False)
    applied(api, enabled=True)

    assert writes(api) == [
        ("POST", f"/recurringruns/{made}:disable"),
        ("POST", f"/recurringruns/{made}:enable"),
    ]


def test_one_that_was_made_though_the_answer_was_lost_is_not_made_twice(api: FakeApi) -> None:
    api.fail("/recurringruns$", method="POST", drop=True, after=True)

    applied(api)

    assert only(api).status == "ENABLED"
    assert len(api.sent("POST", "/recurringruns")) == 1


def test_a_new_one_that_is_refused_leaves_the_old_one_in_force(api: FakeApi) -> None:
    applied(api)
    api.fail("/recurringruns$", method="POST", status=400)

    with pytest.raises(ApiError):
        applied(api, max_concurrency=2)

    assert (only(api).status, str(only(api).max_concurrency)) == ("ENABLED", "1")


def test_all_pages_of_recurring_runs_and_runs_are_read(api: FakeApi) -> None:
    api.page_size = 1
    for name in ("a", "b", "leap"):
        applied(api, name=name)
    writes(api)
    old = next(one for one in api.recurring_runs.values() if one.display_name == "a")
    start_run(api, old)
    for _ in range(3):
        start_run(api, old, "SUCCEEDED")

    assert len(applied(api, name="b")) == 1
    assert "1 of its runs in flight" in applied(api, name="a", max_concurrency=2)[-1]


def test_the_commands_list_pause_resume_trigger_and_delete(
    api: FakeApi, invoke: Callable[..., Result]
) -> None:
    assert "made recurring run" in invoke("apply", "leap.yaml").output
    made = only(api)
    start_run(api, made, "SUCCEEDED")
    running = start_run(api, made)
    writes(api)

    listed = invoke("list").output.splitlines()
    assert listed[1].split()[:2] == ["leap", "enabled"]
    assert listed[1].endswith("running succeeded")
    assert "-02-29 03:00 UTC" in listed[1]

    assert invoke("pause", "leap").exit_code == 0
    assert made.status == "DISABLED"
    assert " paused " in invoke("list").output
    assert invoke("resume", "leap").exit_code == 0
    assert made.status == "ENABLED"
    writes(api)

    assert invoke("trigger", "leap").exit_code == 0
    (sent,) = api.sent("POST", "/runs")
    assert sent.json["runtime_config"]["parameters"]["dataset"] == "mnist"
    assert sent.json["pipeline_version_reference"]["pipeline_version_id"] in api.versions
    assert sent.json["service_account"] == "runner"

    told = invoke("delete", "leap")
    assert isinstance(told.exception, StepError)
    assert "1 of its runs in flight" in str(told.exception)
    assert made.status == "DISABLED"
    running.state = "SUCCEEDED"
    assert invoke("delete", "leap").exit_code == 0
    assert not api.recurring_runs
    assert invoke("list").output.startswith("no schedules there: `genpipe schedule apply")


def test_a_name_that_is_no_schedule_is_told_with_those_that_are(
    api: FakeApi, invoke: Callable[..., Result]
) -> None:
    applied(api)
    writes(api)

    for command in ("pause", "resume", "trigger", "delete"):
        result = invoke(command, "weekly")
        assert isinstance(result.exception, InputError)
        assert "there are: leap" in str(result.exception)
    assert writes(api) == []


def test_a_bad_file_in_a_folder_stops_all_before_anything_is_sent(
    api: FakeApi, invoke: Callable[..., Result]
) -> None:
    folder = Path("schedules")
    folder.mkdir()
    write(folder, "a.yaml", name="a", environment=None)
    write(folder, "b.yaml", name="b", environment=None, cron="never")

    result = invoke("apply", "schedules")

    assert isinstance(result.exception, InputError)
    assert api.requests == []


def test_a_dry_run_where_no_cluster_answers_checks_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"host": "http://127.0.0.1:9", "namespace": "team"}
    environment = Environment.model_validate(
        {"name": "away", "api": there, "images": {"cpu": "genpipe-cpu:1"}}
    )
    # Not .yaml, so that it is not taken for a schedule.
    (tmp_path / "away.txt").write_text(
        yaml.safe_dump(environment.model_dump(exclude_defaults=True))
    )
    write(tmp_path, environment="away.txt")
    write(tmp_path, "nightly.yml", name="nightly", environment="away.txt", enabled=False)
    monkeypatch.chdir(tmp_path)

    told = CliRunner().invoke(main, ["schedule", "apply", ".", "--dry-run"])

    assert told.exit_code == 0, told.output
    off, _, on, why = told.output.splitlines()
    assert off == "nightly in away: valid and compiles, next run off"
    assert on.startswith("weekly in away: valid and compiles, next run 20")
    assert why.startswith("  not compared with the cluster's schedules: ")
    assert "http://127.0.0.1:9" in why
    with pytest.raises(StepError):
        CliRunner().invoke(main, ["schedule", "apply", "."], catch_exceptions=False)
    write(tmp_path, environment="away.txt", parameters={"latent_size": [2]})
    with pytest.raises(InputError, match="latent_size"):
        CliRunner().invoke(main, ["schedule", "apply", ".", "--dry-run"], catch_exceptions=False)
