"""The pointer, the versions and the record of decisions, apart from how they come about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from genpipe import storage
from genpipe.errors import InputError, StepError
from genpipe.registry.champions import Champions, Decision, Outcome, new_name
from genpipe.registry.comparison import Comparison


@pytest.fixture(params=["local", "bucket"])
def champions(request: pytest.FixtureRequest, tmp_path: Path) -> Champions:
    place = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return Champions(f"{place}/shelf", "vae")


@pytest.fixture
def local(tmp_path: Path) -> Champions:
    return Champions(str(tmp_path / "shelf"), "vae")


def promote(champions: Champions, run: str, *, store: bool = True) -> Decision:
    """Make a model of a run champion, whatever was before."""
    standing, version = champions.standing(), new_name()
    if store:
        storage.write_bytes(champions.address(version, "version.json"), b"{}")
    before = standing.decision
    decision = Decision(
        id=new_name(),
        family="vae",
        latent_size=10,
        run=run,
        model=f"sha256:{run}",
        data="sha256:data",
        outcome=Outcome.PROMOTED if before else Outcome.FIRST,
        reason="better",
        champion=version,
        previous=before.champion if before else "",
        comparison=Comparison("elbo", -2.0, -1.0, 1.0, 0.5, 1.5, 100) if before else None,
    )
    assert champions.move(standing, decision)
    return decision


def test_a_decision_comes_back_as_it_went(champions: Champions) -> None:
    made = [promote(champions, run) for run in ("a", "b", "c")]

    assert champions.decisions() == made
    assert champions.standing().decision == made[-1]
    assert Decision.parse(made[1].to_bytes()) == made[1]


def test_a_move_over_another_leaves_nothing(champions: Champions) -> None:
    promote(champions, "a")
    seen = champions.standing()
    won = promote(champions, "b")

    lost = replace(won, id=new_name(), run="c")
    assert not champions.move(seen, lost)

    assert champions.standing().decision == won
    assert lost.id not in [decision.id for decision in champions.decisions()]


def test_the_next_mover_keeps_the_record_that_the_last_one_died_before(local: Champions) -> None:
    first = promote(local, "a")
    record = Path(local.target, "vae", "decisions", f"{first.id}.json")
    record.unlink()

    assert local.decisions() == [first]
    second = promote(local, "b")
    assert Decision.parse(record.read_bytes()) == first
    assert local.decisions() == [first, second]


def test_a_record_is_never_written_again(local: Champions) -> None:
    first = promote(local, "a")

    local.record(replace(first, reason="another"))

    assert local.decisions() == [first]


def test_rolling_back_puts_the_one_before_in_its_place(champions: Champions) -> None:
    first, second = promote(champions, "a"), promote(champions, "b")

    back = champions.roll_back()

    assert (back.outcome, back.champion, back.previous) == (
        Outcome.ROLLED_BACK,
        first.champion,
        second.champion,
    )
    assert (back.run, back.model, back.data, back.comparison) == (
        first.run,
        first.model,
        first.data,
        None,
    )
    assert champions.standing().decision == back
    assert champions.decisions() == [first, second, back]
    assert champions.roll_back().champion == second.champion


def test_rolling_back_to_a_version_by_name(local: Champions) -> None:
    first, _, third = (promote(local, run) for run in ("a", "b", "c"))

    assert local.roll_back(first.champion).champion == first.champion
    assert local.roll_back(third.champion).run == "c"


@pytest.mark.parametrize("version", ["../../elsewhere", "20261123-041502-123456-3f2a9c1b", "x"])
def test_only_a_former_champion_can_be_put_back(local: Champions, version: str) -> None:
    first, second = promote(local, "a"), promote(local, "b")

    with pytest.raises(
        InputError, match=f"was never champion of vae: choose from {first.champion}$"
    ):
        local.roll_back(version)
    with pytest.raises(InputError, match=f"{second.champion} is the champion of vae already"):
        local.roll_back(second.champion)


def test_without_a_champion_before_there_is_nothing_to_roll_back_to(local: Champions) -> None:
    with pytest.raises(InputError, match="vae has no champion under"):
        local.roll_back()
    promote(local, "a")
    with pytest.raises(InputError, match="vae has no earlier champion to roll back to"):
        local.roll_back()


def test_a_version_that_is_not_whole_is_not_put_back(local: Champions) -> None:
    promote(local, "a", store=False)
    second = promote(local, "b")

    with pytest.raises(StepError, match=r"cannot read .*version.json"):
        local.roll_back()
    assert local.standing().decision == second


def test_a_champion_that_came_meanwhile_is_not_rolled_back(
    local: Champions, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(local, "a")
    promote(local, "b")
    metadata = Champions.metadata

    def slow(self: Champions, version: str) -> dict:
        promote(local, "c")
        return metadata(self, version)

    monkeypatch.setattr(Champions, "metadata", slow)
    with pytest.raises(StepError, match="changed during the rollback"):
        local.roll_back()
    standing = local.standing().decision
    assert standing is not None
    assert standing.run == "c"


def test_a_decision_names_only_versions_that_were_made_here(local: Champions) -> None:
    made = promote(local, "a")

    for name in ("id", "champion", "previous"):
        with pytest.raises(ValueError, match="names neither a version"):
            replace(made, **{name: "../x"})


def test_names_sort_by_time_and_no_two_are_equal() -> None:
    names = [new_name() for _ in range(200)]

    assert len(set(names)) == 200
    assert [name[:22] for name in names] == sorted(name[:22] for name in names)
