"""Whatever comes in is taken as it is meant, or refused by an InputError and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cronsim import CronSim
from hypothesis import assume, example, given
from hypothesis import strategies as st

from genpipe.cells import Cell
from genpipe.data.dataset import SPLITS, open_dataset, write_dataset
from genpipe.documents import parse_document
from genpipe.errors import InputError, StepError, expected_message, shown
from genpipe.families.registry import all_families, find_family
from genpipe.metrics.registry import format_metric
from genpipe.registry.champions import Decision
from pipelines.cluster.cron import CRON_FIELDS, kubeflow_cron
from pipelines.cluster.schedule_files import Schedule
from pipelines.environments import Environment
from pipelines.local.run import NAME, LocalRun
from pipelines.parameters import Parameters

keys = st.text(max_size=5)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=5),
    st.sampled_from(["vae", "relu", "mnist", "gs://", "~x", "1e999", 10**400, -1, 0.5]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(
    {field.name for family in all_families().values() for field in fields(family.settings)}
)


def refusal(call: Any, *arguments: Any, **named: Any) -> str:
    """The line of an InputError; empty where there is none."""
    try:
        call(*arguments, **named)
    except InputError as error:
        line = expected_message(error)
        assert line
        assert "\n" not in line
        return line
    return ""


@given(st.sampled_from(list(all_families())), st.sampled_from(FIELDS), values)
def test_a_setting_lies_in_its_range_or_is_refused_by_name(
    family: str, name: str, value: Any
) -> None:
    kind = find_family(family).settings
    assume(name in {field.name for field in fields(kind)})
    given = {"latent_size": 2, name: value}

    line = refusal(kind, **given)

    assert not line or line.startswith(f"{name} must")
    within = {one.name: one.metadata.get("range") for one in fields(kind)}[name]
    if not line and within:
        made = getattr(kind(**given), name)
        low, high = within
        assert low <= made <= high
        assert made == value
        assert math.isfinite(made)


@given(
    st.dictionaries(
        st.sampled_from([*Parameters.model_fields, "vae", "vae.beta", "x"]) | scalars, values
    )
)
def test_parameters_are_arguments_that_json_holds_or_are_refused(given: dict[Any, Any]) -> None:
    if not refusal(Parameters.checked, given):
        parameters = Parameters.checked(given)
        arguments = json.loads(json.dumps(parameters.arguments(), allow_nan=False))
        assert arguments == parameters.arguments()
        assert Parameters.checked(json.loads(json.dumps(parameters.to_dict()))) == parameters


field = st.builds(
    lambda first, last, step: f"{first}{last}{step}",
    st.sampled_from(["*", "?", "L", "MON", "sun", "\u0663", ""]) | st.integers(0, 70).map(str),
    st.just("") | st.integers(0, 70).map(lambda number: f"-{number}"),
    st.just("") | st.integers(0, 70).map(lambda number: f"/{number}"),
)
crons = st.lists(field, min_size=4, max_size=7).map(" ".join) | st.text(max_size=20)


@given(crons)
@example("0 0 * * 7")
@example("*/15 3-5 1,15 jan-mar sun")
def test_a_cron_has_kfps_six_fields_or_is_refused(text: str) -> None:
    try:
        sent = kubeflow_cron(text)
    except ValueError:
        return
    assert sent.isascii()
    assert len(sent.split()) == len(CRON_FIELDS)
    assert kubeflow_cron(sent) == sent
    CronSim(sent, datetime(2026, 1, 1))
    weekday = sent.split()[-1]
    assert weekday.startswith("*") or set(weekday.split(",")) <= set("0123456")


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 7))
def test_five_fields_mean_what_crontab_means(minute: int, hour: int, weekday: int) -> None:
    sent = kubeflow_cron(f"{minute} {hour} * * {weekday}")

    assert sent == f"0 {minute} {hour} * * {weekday % 7}"


@given(st.text(max_size=80) | st.from_regex(NAME, fullmatch=True))
def test_a_run_name_is_one_folder_below_runs_or_is_refused(name: str) -> None:
    runs = Path("/proc/no-such-folder")  # where nobody can make one
    try:
        LocalRun(runs, name, Parameters())
    except InputError:
        assert not NAME.fullmatch(name)
    except StepError:
        assert (runs / name).parent == runs
        assert name not in (".", "..")
        assert name.isascii()
        assert not set(name) & set("/\\ \"'`$&|;<>*?()[]{}!#~\n\0")


@given(st.text(max_size=260) | st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True))
def test_a_kubernetes_name_is_one_or_is_refused(name: str) -> None:
    """RFC 1123: what the names of schedules, environments, secrets and namespaces are."""
    valid = re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name) is not None
    content = {"name": name, "cron": "@daily"}
    with contextlib.ExitStack() as stack:
        if not valid:
            stack.enter_context(pytest.raises(ValueError, match="name"))
        assert Schedule.model_validate(content).name == name


@given(st.binary(max_size=200) | values.map(lambda value: repr(value).encode()))
@example(b"name: !!timestamp x")
@example(b"{a: " * 2000)
def test_a_settings_file_is_one_or_is_refused(scratch: Path, content: bytes) -> None:
    path = scratch / "mine.yaml"
    path.write_bytes(content)

    for kind in (Environment, Schedule):
        assert (
            refusal(kind.read, path).removeprefix("cannot read environment ").startswith(str(path))
        )


@given(st.binary(max_size=100) | values.map(lambda value: json.dumps(str(value)).encode()))
@example(b'{"a": 1' + b"0" * 5000 + b"}")
@example(b'{"a": NaN, "b": -Infinity, "c": 1e999}')
@example(b"[" * 100_000)
def test_numbers_of_a_document_can_be_calculated_with(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        for value in parse_document(content).values():
            if isinstance(value, int | float):
                assert isinstance(format_metric("elbo", value), str)
                math.isfinite(value)


names = st.sampled_from([field.name for field in fields(Decision)]) | st.text(max_size=5)
documents = st.dictionaries(names, values, max_size=8)


@given(st.binary(max_size=50) | documents.map(lambda one: json.dumps(one, default=str).encode()))
def test_what_is_no_decision_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the caller names the file)
        Decision.parse(content)


@given(values)
def test_a_message_names_a_value_in_one_short_line(value: Any) -> None:
    assert len(shown(value)) < 5000
    assert "\n" not in shown(value)


@given(st.sampled_from(list(all_families())), st.integers(1, 4096))
def test_a_cell_is_read_back_from_its_name(family: str, size: int) -> None:
    name, _, number = Cell(family, size).name.rpartition("-")

    assert Cell(name, int(number)) == Cell(family, size)


# The data set.


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def dataset(scratch: Path) -> Path:
    """A data set of three images a split."""
    random = np.random.default_rng(0)
    arrays = {
        split: (
            random.integers(0, 256, (3, 28, 28, 1), dtype=np.uint8),
            random.integers(0, 10, 3, dtype=np.uint8),
        )
        for split in SPLITS
    }
    folder = scratch / "data"
    folder.mkdir()
    names = tuple("0123456789")
    write_dataset(folder, arrays, name="mnist", class_names=names, facts={"seed": 0})
    return folder


@given(data=st.data())
def test_a_damaged_byte_of_a_data_set_is_refused(dataset: Path, scratch: Path, data: Any) -> None:
    file = data.draw(st.sampled_from(sorted(path.name for path in dataset.iterdir())))
    content = (dataset / file).read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    damaged = scratch / "damaged"
    shutil.copytree(dataset, damaged, dirs_exist_ok=True)
    (damaged / file).write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])

    line = refusal(open_dataset, damaged)

    assert file in line or file == "dataset.json"
    if not line:  # white space between the values
        assert open_dataset(damaged).info == open_dataset(dataset).info
        assert bytes([byte, content[place]]).isspace()


@given(data=st.data())
def test_a_cut_or_garbled_header_is_refused_without_digests_too(
    dataset: Path, scratch: Path, data: Any
) -> None:
    file = data.draw(st.sampled_from([f"{split}_images.npy" for split in SPLITS]))
    content = bytearray((dataset / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    damaged = scratch / "garbled"
    shutil.copytree(dataset, damaged, dirs_exist_ok=True)
    (damaged / file).write_bytes(content[: data.draw(st.integers(0, len(content)))])

    refusal(open_dataset, damaged, check=False)
