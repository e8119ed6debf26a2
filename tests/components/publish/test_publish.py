"""Publishing: a better model becomes the champion, a worse one leaves it alone."""

from __future__ import annotations

import dataclasses
import html
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.publish.step import read_margin
from genpipe import storage
from genpipe.data.dataset import SPLITS, open_dataset, write_dataset
from genpipe.errors import InputError, StepError
from genpipe.families.registry import find_family
from genpipe.metrics.frechet import judge_features
from genpipe.registry.champions import Champions, Decision, Outcome
from genpipe.registry.comparison import compare_samples
from genpipe.tracking import Tracker
from genpipe.tracking.progress import Progress
from genpipe.training.saved import SavedModel
from tests.components.publish.made_run import MadeRun, images, make_judge

COSTS = {"autoencoder": 0.03, "vae": 100.0, "dcgan": 20.0}

Make = Callable[..., MadeRun]


class Recorder(Tracker):
    """Keeps what is logged."""

    def __init__(self, run: MadeRun) -> None:
        super().__init__(Progress("publish", stream=run.said))
        self.summary: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.made: list[tuple[str, str, str]] = []
        self.alerts: list[tuple[str, bool]] = []

    def summarize(self, values: Mapping[str, Any]) -> None:
        self.summary |= values

    def alert(self, title: str, text: str, *, warns: bool = False) -> None:
        self.alerts.append((title, warns))

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.rows += [dict(zip(columns, row, strict=True)) for row in rows]

    def makes(
        self, kind: str, name: str, uri: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.made.append((kind, name, uri))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(name: str, costs: Mapping[str, float] = COSTS, **options: Any) -> MadeRun:
        return MadeRun(tmp_path / "steps", name, costs, **options)

    return made


@pytest.fixture(params=["local", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = tmp_path if request.param == "local" else request.getfixturevalue(request.param)
    return f"{place}/shelf"


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    return str(tmp_path / "shelf")


def champion(target: str, family: str = "vae") -> str:
    """The version that is champion."""
    decision = Champions(target, family).standing().decision
    return decision.champion if decision else ""


def content(target: str) -> dict[str, bytes]:
    return storage.read_files(target, storage.list_files(target))


def assert_champion_is(target: str, run: MadeRun, family: str) -> None:
    """The family's champion is the run's cell, and every byte of it is there."""
    place = storage.join(target, family, "versions", champion(target, family))
    found = content(place)
    metadata = json.loads(found.pop("version.json"))
    assert found == run.files_of(family)
    assert (metadata["run"], metadata["family"], metadata["latent_size"]) == (run.name, family, 10)


def test_the_first_of_each_family_is_champion(make: Make, target: str) -> None:
    run = make("run-1")

    decisions = run.publish(target)

    assert list(decisions) == list(COSTS)
    for family, decision in decisions.items():
        assert (decision.outcome, decision.previous) == (Outcome.FIRST, "")
        assert_champion_is(target, run, family)
        assert f"{family}-10 published: first champion of its family" in run.said.getvalue()
    kinds = {name.split("/")[1] for name in storage.list_files(target)}
    assert kinds - {".champion.json.lock"} == {"champion.json", "decisions", "versions"}


def test_what_is_better_takes_the_place_and_what_was_there_stays(make: Make, target: str) -> None:
    first = make("run-1")
    before = first.publish(target)
    old = {name: held for name, held in content(target).items() if "champion.json" not in name}
    second = make("run-2", {family: cost * 0.5 for family, cost in COSTS.items()}, seed=2)

    after = second.publish(target)

    for family, decision in after.items():
        assert decision.outcome is Outcome.PROMOTED
        assert decision.previous == before[family].champion
        assert decision.comparison is not None
        assert 0 < decision.comparison.low < decision.comparison.improvement
        assert_champion_is(target, second, family)
    assert old.items() <= content(target).items()
    assert "better beyond the interval; it is the champion now" in second.page


def test_a_worse_retraining_leaves_the_champion_alone_and_says_so(make: Make, target: str) -> None:
    make("run-1").publish(target)
    before = content(target)
    worse = make("run-2", {family: cost * 1.2 for family, cost in COSTS.items()}, seed=2)

    decisions = worse.publish(target)

    after = content(target)
    assert before.items() <= after.items()
    assert sorted(after.keys() - before.keys()) == sorted(
        f"{family}/decisions/{decision.id}.json" for family, decision in decisions.items()
    )
    for family, decision in decisions.items():
        assert decision.outcome is Outcome.KEPT
        assert decision.champion == champion(target, family)
    assert worse.page.count("worse; the champion stays as it was") == 3
    assert (
        "vae-10 not published, worse: ELBO -120 against the champion's -100"
        in worse.said.getvalue()
    )


def test_better_by_chance_is_not_better(make: Make, shelf: str) -> None:
    make("run-1", {"vae": 100.0}).publish(shelf)
    lucky = make("run-2", {"vae": 99.5}, spread=0.2, seed=2)

    (decision,) = lucky.publish(shelf).values()

    assert decision.outcome is Outcome.KEPT
    assert decision.comparison is not None
    assert decision.comparison.low < 0 < decision.comparison.improvement
    assert "not better beyond the interval; the champion stays as it was" in lucky.page


def test_by_force_a_worse_one_is_champion(make: Make, shelf: str) -> None:
    make("run-1").publish(shelf)
    worse = make("run-2", {family: cost * 1.2 for family, cost in COSTS.items()}, seed=2)

    decisions = worse.publish(shelf, force=True)

    assert {decision.outcome for decision in decisions.values()} == {Outcome.FORCED}
    for family in COSTS:
        assert_champion_is(shelf, worse, family)
    assert "worse; it is the champion now by force" in worse.page


def test_what_is_better_anyway_is_not_called_forced(make: Make, shelf: str) -> None:
    make("run-1", {"vae": 100.0}).publish(shelf)

    (decision,) = make("run-2", {"vae": 90.0}).publish(shelf, force=True).values()

    assert decision.outcome is Outcome.PROMOTED


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"image_shape": [32, 32, 3]}, "the champion's images have 32 x 32 x 3, these 28 x 28 x 1"),
        ({"class_names": ["cat", "dog"]}, "the champion's data have other classes"),
    ],
)
def test_data_of_another_shape_or_of_other_classes_are_never_compared(
    make: Make, shelf: str, known: dict[str, Any], told: str
) -> None:
    make("run-1").publish(shelf)
    for path in Path(shelf).glob("*/versions/*/version.json"):
        metadata = json.loads(path.read_text())
        metadata["dataset"] |= known
        path.write_text(json.dumps(metadata))
    other = make("run-2", data="sha256:other")
    other.tracker = recorder = Recorder(other)

    decisions = other.publish(shelf)

    for family, decision in decisions.items():
        assert (decision.outcome, decision.comparison) == (Outcome.OTHER_DATA, None)
        assert decision.champion == champion(shelf, family)
    assert f"not compared: {told}; the champion stays" in html.unescape(other.page)
    assert recorder.made == []

    for path in Path(shelf).glob("*/versions/*/version.json"):
        path.unlink()  # force needs nothing of the champion
    assert {d.outcome for d in other.publish(shelf, force=True).values()} == {Outcome.FORCED}
    assert_champion_is(shelf, other, "vae")


@pytest.mark.parametrize(("lightness", "outcome"), [(10.0, "promoted"), (30.0, "kept")])
def test_a_champion_of_other_data_is_measured_anew_by_its_samples(
    make: Make, shelf: str, lightness: float, outcome: str
) -> None:
    make("run-1", {"dcgan": 20.0}).publish(shelf)
    other = make("run-2", {"dcgan": lightness}, seed=2, data="sha256:other")
    lighter = {"train": 0.0, "validation": 0.0, "test": 15.0}  # no two splits that decide alike
    arrays = {split: (images(by, 7), np.zeros(300, np.uint8)) for split, by in lighter.items()}
    shutil.rmtree(other.root / "data")
    (other.root / "data").mkdir()
    names = tuple("0123456789")
    write_dataset(other.root / "data", arrays, name="mnist", class_names=names, facts={})
    features = [
        judge_features(SavedModel(other.root / "judge"), drawn)
        for drawn in (images(0, 7), images(15, 7), images(20, 1), images(lightness, 2))
    ]
    on_validation = compare_samples(features[0], *features[2:])
    on_test = compare_samples(features[1], *features[2:])

    (decision,) = other.publish(shelf).values()

    assert decision.outcome.value == outcome
    compared = decision.comparison
    assert compared
    assert compared.data == open_dataset(other.root / "data").digest
    assert (compared.champion, compared.challenger) == pytest.approx(
        (on_validation.champion, on_validation.challenger)
    )
    assert (compared.champion_test, compared.challenger_test) == pytest.approx(
        (on_test.champion, on_test.challenger)
    )
    assert compared.champion_test != pytest.approx(compared.champion, rel=0.1)
    assert "both measured on the new data" in str(decision)
    assert Decision.parse(decision.to_bytes()) == decision


def test_what_changed_since_the_champions_data_is_recorded(make: Make, shelf: str) -> None:
    make("run-1", {"dcgan": 20.0}).publish(shelf)
    other = make("run-2", {"dcgan": 20.0}, seed=2, data="sha256:other")
    other.tracker = recorder = Recorder(other)
    arrays = {split: (images(60, 8), np.ones(300, np.uint8)) for split in SPLITS}
    shutil.rmtree(other.root / "data")
    (other.root / "data").mkdir()
    names = tuple("0123456789")
    write_dataset(other.root / "data", arrays, name="mnist", class_names=names, facts={})

    (decision,) = other.publish(shelf).values()

    drift = decision.drift
    assert drift
    assert (drift.added, drift.removed) == ({"1": 900}, {"0": 900})
    assert drift.warns
    told = "Since the data of the champion: 900 images added (1 900), 900 images removed (0 900)"
    assert f"<p class=note>{told}" in other.page
    assert ("The images have shifted", True) in recorder.alerts


def test_the_samples_of_both_are_seen_by_one_judge(make: Make, shelf: str) -> None:
    first = make("run-1", {"dcgan": 20.0})
    first.publish(shelf)
    second = make("run-2", {"dcgan": 20.0}, seed=2)
    shutil.rmtree(second.root / "judge")
    make_judge(second.root / "judge", seed=5)

    (decision,) = second.publish(shelf).values()

    judge = SavedModel(second.root / "judge")
    features = [
        judge_features(judge, drawn) for drawn in (images(0, 7), images(20, 1), images(20, 2))
    ]
    data = open_dataset(second.root / "data").digest
    assert decision.comparison == dataclasses.replace(compare_samples(*features), data=data)


def test_a_model_that_is_champion_already_stays_it(make: Make, shelf: str) -> None:
    run = make("run-1")
    first = run.publish(shelf)

    again = run.publish(shelf, force=True)

    for family, decision in again.items():
        assert (decision.outcome, decision.champion) == (Outcome.KEPT, first[family].champion)
    assert run.page.count("model already is the champion; the champion stays") == 3
    assert len(storage.list_files(storage.join(shelf, "vae", "versions"))) == len(
        [*run.files_of("vae"), "version.json"]
    )


def test_a_family_the_run_has_not_keeps_its_champion(make: Make, shelf: str) -> None:
    make("run-1").publish(shelf)
    before = champion(shelf, "dcgan")

    assert list(make("run-2", {"vae": 50.0}).publish(shelf)) == ["vae"]
    assert champion(shelf, "dcgan") == before


def test_wandb_gets_the_decisions(make: Make, shelf: str) -> None:
    make("run-1", {"vae": 100.0}).publish(shelf)
    run = make("run-2", {"autoencoder": 0.03, "vae": 90.0})
    run.tracker = recorder = Recorder(run)

    run.publish(shelf)

    version = champion(shelf)
    assert recorder.summary["champion/autoencoder/outcome"] == "first"
    assert recorder.summary["champion/vae/outcome"] == "promoted"
    assert recorder.summary["champion/vae/version"] == version
    assert recorder.summary["champion/vae/improvement"] == pytest.approx(10, rel=1e-3)
    row = recorder.rows[1]
    assert (row["cell"], row["metric"], row["outcome"]) == ("vae-10", "elbo", "promoted")
    assert (row["champion"], row["challenger"]) == pytest.approx((-100, -90), rel=1e-3)
    address = storage.join(shelf, "vae", "versions", version)
    assert recorder.made[1] == ("champion", "champion-vae", address)


def test_promotions_worse_models_and_shifted_images_are_told_once(make: Make, shelf: str) -> None:
    first = make("run-1")
    first.tracker = recorder = Recorder(first)
    first.publish(shelf)
    assert recorder.alerts == []  # the first champions are no news to who made them

    run = make("run-2", {"autoencoder": 0.02, "vae": 150.0, "dcgan": 20.0}, seed=2)
    run.tracker = recorder = Recorder(run)
    run.publish(shelf)

    assert recorder.alerts == [
        ("Autoencoder 10 is the new champion", False),
        ("VAE 10 is worse than the champion", True),
    ]


def test_without_a_target_it_says_that_it_published_nothing(make: Make) -> None:
    run = make("run-1")

    assert run.publish("") == {}
    assert "nothing published (no --publish-to)" in run.said.getvalue()
    assert run.page == (run.root / "report").read_text()


def test_a_run_without_a_complete_cell_publishes_nothing(make: Make, shelf: str) -> None:
    run = make("run-1", {})

    assert run.publish(shelf) == {}
    assert not Path(shelf).exists()
    assert "nothing published: no cell" in run.said.getvalue()


def test_a_relative_target_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match="'shelf/models' is relative"):
        make("run-1").publish("shelf/models")


def test_nothing_is_published_where_a_best_cells_folder_is_missing(make: Make, shelf: str) -> None:
    run = make("run-1")
    run.arguments["evaluations"].pop(1)

    with pytest.raises(
        InputError, match="cannot publish vae-10: the publish step received no evaluation"
    ):
        run.publish(shelf)

    assert not Path(shelf).exists()


def test_a_target_that_can_not_be_written_is_told(make: Make, tmp_path: Path, bucket: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StepError, match=r"file/.*: check the path"):
        make("run-1").publish(tmp_path / "file")
    with pytest.raises(StepError, match=r"gs://no-such-bucket/x.* does not exist"):
        make("run-2").publish("gs://no-such-bucket/x")


@pytest.mark.parametrize("damage", ["gone", "torn", "longer", "other", "nan"])
def test_a_champion_that_can_not_be_read_is_told_and_gives_way_to_force(
    make: Make, shelf: str, damage: str
) -> None:
    import numpy as np

    make("run-1", {"vae": 100.0}).publish(shelf)
    losses = Path(shelf, "vae", "versions", champion(shelf), "evaluation", "validation_losses.npy")
    held = losses.read_bytes()
    if damage == "gone":
        losses.unlink()
    elif damage == "torn":
        losses.write_bytes(held[: len(held) // 2])
    else:
        np.save(
            losses,
            {
                "longer": np.ones(999, np.float32),
                "other": np.array(["x"], dtype=object).astype("U1"),
                "nan": np.full(300, np.nan, np.float32),
            }[damage],
        )
    before = champion(shelf)
    run = make("run-2", {"vae": 90.0})

    with pytest.raises(StepError, match=r"versions/\S+/evaluation.*, or publish with --force$"):
        run.publish(shelf)
    assert champion(shelf) == before

    assert run.publish(shelf, force=True)["vae"].outcome is Outcome.FORCED
    assert_champion_is(shelf, run, "vae")


@pytest.mark.parametrize("pointer", [b"", b"[]", b"{}", b'{"comparison": 3}', b"\xff"])
def test_a_pointer_that_holds_no_decision_is_told(make: Make, shelf: str, pointer: bytes) -> None:
    storage.write_bytes(storage.join(shelf, "vae", "champion.json"), pointer)

    with pytest.raises(
        StepError, match=r"cannot read the champion record .*vae/champion.json \(.*restore"
    ):
        make("run-1", {"vae": 90.0}).publish(shelf)


def test_of_several_seeds_the_best_becomes_the_champion(make: Make, shelf: str) -> None:
    run = make("run-1", seeds=(4, 7))

    run.publish(shelf)

    place = Path(shelf, "vae", "versions", champion(shelf))
    assert (place / "model" / "weights.keras").read_bytes() == b"run-1 vae-10@7 1"


def test_a_champion_stays_until_it_is_beaten_by_more_than_the_margin(
    make: Make, shelf: str
) -> None:
    make("run-1").publish(shelf)
    better = {family: cost * 0.9 for family, cost in COSTS.items() if family != "dcgan"}

    kept = make("run-2", better, seed=2).publish(shelf, margin=0.2)
    moved = make("run-3", better, seed=3).publish(shelf, margin=0.05)

    for family in better:
        assert kept[family].outcome is Outcome.KEPT
        assert "not by more than another seed may make of it" in kept[family].reason
        comparison = kept[family].comparison
        assert comparison
        assert comparison.margin == pytest.approx(0.2 * abs(comparison.champion))
        assert moved[family].outcome is Outcome.PROMOTED


def test_by_default_the_margin_is_what_was_measured_for_the_family(make: Make, shelf: str) -> None:
    make("run-1").publish(shelf)

    decisions = make("run-2", seed=2).publish(shelf, margin=None)

    for family, decision in decisions.items():
        assert decision.comparison
        share = find_family(family).promotion_margin
        assert share > 0
        assert decision.comparison.margin == pytest.approx(
            share * abs(decision.comparison.champion)
        )


def test_a_margin_is_auto_or_a_share() -> None:
    assert read_margin("auto") is None
    assert read_margin("0.02") == 0.02
    for bad in ("much", "nan", "-0.1", "2"):
        with pytest.raises(InputError, match="promotion_margin must be auto or a share from 0 to"):
            read_margin(bad)
