"""A publisher that dies leaves the champion usable, and of many at once one wins whole."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from genpipe import storage
from genpipe.registry.champions import Champions, Outcome
from tests.components.publish.made_run import MadeRun
from tests.components.publish.publishers import FAMILY, challenger, champion

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.runs


@pytest.fixture(params=["local", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return f"{place}/shelf"


def publishers(*arguments: object) -> str:
    command = [sys.executable, "-m", "tests.components.publish.publishers", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_whole(champions: Champions, run: MadeRun) -> None:
    """The champion is the run's model, and every byte of it is there."""
    decision = champions.standing().decision
    assert decision is not None
    place = champions.address(decision.champion)
    found = storage.read_files(place, storage.list_files(place))
    found.pop("version.json")
    assert found == run.files_of(FAMILY)
    assert champions.metadata(decision.champion)["run"] == run.name


def test_a_publisher_killed_at_any_write_leaves_a_whole_champion(
    tmp_path: Path, target: str
) -> None:
    runs = tmp_path / "killed"
    count = int(publishers("killed", runs, target).split()[-1])
    first, better = (made(tmp_path / "same") for made in (champion, challenger))

    assert count >= 8  # each file of a version, its metadata, the pointer, the record
    left: Counter[str] = Counter()
    for number in range(count + 1):
        champions = Champions(storage.join(target, str(number)), FAMILY)
        decision = champions.standing().decision
        assert decision is not None
        assert_whole(champions, {"champion": first}.get(decision.run, better))
        left[decision.run] += 1
        # Whatever was left behind, the next one ends right, and no decision is lost.
        better.publish(champions.target)
        assert_whole(champions, better)
        moves = [past.outcome for past in champions.decisions() if past.outcome.moves]
        assert moves == [Outcome.FIRST, Outcome.PROMOTED]
    assert left["champion"] >= 6
    assert left[better.name] >= 2  # killed when the pointer had moved, and not killed at all


@pytest.mark.parametrize("count", [2, 10])
def test_of_publishers_at_once_one_wins_whole_and_all_are_recorded(
    tmp_path: Path, target: str, count: int
) -> None:
    publishers("together", tmp_path / "runs", target, count)

    champions = Champions(target, FAMILY)
    best = challenger(tmp_path / "same", 100.0 - 5 * (count - 1))
    assert_whole(champions, best)
    decisions = champions.decisions()
    assert len({decision.run for decision in decisions}) == len(decisions) == count
    moves = {past.previous: past for past in decisions if past.outcome.moves}
    # One chain from the first to the champion: nobody took the place of one who had gone before.
    version = ""
    for _ in range(len(moves)):
        version = moves[version].champion
    decision = champions.standing().decision
    assert decision is not None
    assert version == decision.champion
    assert moves[""].outcome is Outcome.FIRST
    # Who lost a race leaves nothing behind.
    names = storage.list_files(storage.join(target, FAMILY, "versions"))
    assert {name.partition("/")[0] for name in names} == {one.champion for one in moves.values()}
