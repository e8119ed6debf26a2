"""Set the best cell of each family against the published champion, and publish what is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.publish.referee import RULES, NotMeasurableError, Referee
from genpipe import storage
from genpipe.cells import Cell
from genpipe.data.dataset import Dataset
from genpipe.data.drift import Contents, Drift
from genpipe.documents import read_document
from genpipe.errors import InputError, StepError
from genpipe.families.registry import all_families
from genpipe.registry.champions import (
    Champions,
    Decision,
    Outcome,
    new_name,
)
from genpipe.registry.comparison import Comparison
from genpipe.reporting.decisions import add_decisions
from genpipe.tracking import Tracker

# The last of ten concurrent publishers is the tenth to move the pointer.
ATTEMPTS = 50
HINT = "roll back to another version, or publish with --force"
VALUES = ("champion", "challenger", "improvement", "low", "high", "margin")


@dataclass(frozen=True)
class Challenger:
    """The best cell of a family, as a run made it.

    Args:
        cell: the cell.
        run: the run.
        model: digest of its weights.
        data: digest of the data set.
        metrics: its metrics in the leaderboard.
        folders: its ``model``, ``evaluation`` and ``samples``.
    """

    cell: Cell
    run: str
    model: str
    data: str
    metrics: Mapping[str, float | None]
    folders: Mapping[str, Path]

    @property
    def metadata(self) -> dict[str, Any]:
        """What the version says of it that it becomes."""
        own = {name: getattr(self, name) for name in ("run", "model", "data")}
        return {"latent_size": self.cell.latent_size, **own, "metrics": dict(self.metrics)}


def publish(
    *,
    target: str,
    force: bool,
    margin: float | None = None,
    run: str,
    data: Path,
    judge: Path,
    leaderboard: Path,
    report: Path,
    models: Sequence[Path],
    evaluations: Sequence[Path],
    samples: Sequence[Path],
    page: Path,
    tracker: Tracker,
) -> list[Decision]:
    """Decide for each family of a run whether its best cell becomes the champion.

    It does where there is no champion yet, where it is better beyond the interval and the margin,
    or by force. A champion that was published on other data is measured anew on this run's; one
    that can't be, since its images have another shape or its data other classes, is left alone.

    Args:
        target: an absolute folder or a gs:// prefix; nothing is published if it is empty.
        force: make the best cells champions whatever the comparison says.
        margin: by what share of the champion's metric a challenger has to be better beyond the
            interval; each family's own (``FamilySpec.promotion_margin``) if None.
        run: the run's name.
        data: the data-set folder.
        judge: the judge's model folder.
        leaderboard: the folder that holds ``leaderboard.json``, which names the best cells.
        report: the page that ``compare`` wrote.
        models: all model folders.
        evaluations: all evaluation folders.
        samples: all samples folders.
        page: file that gets that page, with the decisions in it.
        tracker: reports the decisions.

    Returns:
        A decision a family, in the order of the families.

    Raises:
        InputError: the target is relative, or a best cell's folder is not among those given;
            nothing was published.
        StepError: the target can't be read or written.
    """
    if target and not storage.is_remote(target) and not Path(target).is_absolute():
        raise InputError(f"publish_to {target!r} is relative: give a full path or a gs:// prefix")
    page_before = storage.read_bytes(report).decode("utf-8", "replace")
    # All are looked up before the first is published: a folder that is missing publishes none.
    folders = {"model": models, "evaluation": evaluations, "samples": samples}
    challengers = _challengers(run, leaderboard / "leaderboard.json", folders)
    decisions: list[Decision] = []
    if not target:
        tracker.note("nothing published (no --publish-to)")
    elif not challengers:
        tracker.note("nothing published: no cell of this run is complete")
    else:
        referee = Referee(data, judge, margin)
        contents = Contents.of(referee.dataset)
        beside = {"report.html": page_before.encode(), "images.npz": contents.to_bytes()}
        for challenger in challengers:
            champions = Champions(target, challenger.cell.family.name)
            decision = _contend(champions, challenger, referee, beside, contents, force)
            tracker.note(str(decision))
            decisions.append(decision)
    page_after = add_decisions(page_before, target, decisions)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_after, encoding="utf-8")
    if decisions:
        _track(tracker, target, page_after, decisions)
        _alert(tracker, run, decisions)
    return decisions


def _contend(
    champions: Champions,
    challenger: Challenger,
    referee: Referee,
    beside: Mapping[str, bytes],
    contents: Contents,
    force: bool,
) -> Decision:
    """Decide, and act on it; anew wherever another publisher moved the pointer meanwhile."""
    version, stored = new_name(), False
    for _ in range(ATTEMPTS):
        standing = champions.standing()
        champion = standing.decision
        outcome, reason, comparison = _decide(champions, champion, challenger, referee, force)
        previous = champion.champion if champion else ""
        decision = Decision(
            id=new_name(),
            family=challenger.cell.family.name,
            latent_size=challenger.cell.latent_size,
            run=challenger.run,
            model=challenger.model,
            data=challenger.data,
            outcome=outcome,
            reason=reason,
            champion=version if outcome.moves else previous,
            previous=previous,
            previous_model=champion.model if champion else "",
            comparison=comparison,
            drift=_drift(champions, champion, challenger, contents, force),
        )
        if not outcome.moves:
            champions.record(decision)
            if stored:  # somebody else's was better, and came first
                champions.remove_version(version)
            return decision
        if not stored:
            metadata = {**challenger.metadata, "dataset": _described(referee.dataset)}
            champions.add_version(version, challenger.folders, beside, metadata)
            stored = True
        if champions.move(standing, decision):
            return decision
    champions.remove_version(version)
    raise StepError(
        f"the champion of {champions.family} under {champions.target} moved "
        f"{ATTEMPTS} times while {challenger.run} published: publish again"
    )


def _decide(
    champions: Champions,
    champion: Decision | None,
    challenger: Challenger,
    referee: Referee,
    force: bool,
) -> tuple[Outcome, str, Comparison | None]:
    """What is to be done with a challenger, why, and how it compares."""
    if champion is None:
        return Outcome.FIRST, "there was no champion", None
    if champion.model == challenger.model:
        return Outcome.KEPT, "nothing new: this very model already is the champion", None
    # With the same seed and data, a retraining makes the very model again.
    refused = champion.previous_model if champion.outcome is Outcome.ROLLED_BACK else ""
    if challenger.model == refused and not force:
        return Outcome.KEPT, "this very model was rolled back", None
    addresses = {kind: champions.address(champion.champion, kind) for kind in challenger.folders}
    other = None
    try:
        if champion.data != challenger.data:
            other = champions.metadata(champion.champion).get("dataset", {})
        comparison = referee.compare(challenger.cell.family, addresses, challenger.folders, other)
    except NotMeasurableError as error:
        outcome = Outcome.FORCED if force else Outcome.OTHER_DATA
        return outcome, f"not compared: {error}", None
    except StepError as error:
        if force:
            return Outcome.FORCED, f"not compared: {error}", None
        raise StepError(f"{error}; {HINT}") from None
    if comparison.better:
        return Outcome.PROMOTED, comparison.verdict, comparison
    return Outcome.FORCED if force else Outcome.KEPT, comparison.verdict, comparison


def _drift(
    champions: Champions,
    champion: Decision | None,
    challenger: Challenger,
    contents: Contents,
    force: bool,
) -> Drift | None:
    """What changed since the champion's data, where that is known."""
    if champion is None or champion.data == challenger.data:
        return None
    place = champions.address(champion.champion, "images.npz")
    if not storage.exists(place):
        return None  # an older version
    try:
        return Drift.between(Contents.parse(storage.read_bytes(place)), contents)
    except ValueError as error:
        if force:
            return None
        raise StepError(f"can't read {place}: {error}; {HINT}") from None


def _described(dataset: Dataset) -> dict[str, Any]:
    """What a version keeps of the data set that it was made and measured on."""
    known = ("name", "digest", "source", "image_shape", "class_names", "splits", "statistics")
    return {name: dataset.info[name] for name in (*known, *RULES) if name in dataset.info}


def _challengers(
    run: str, leaderboard: Path, folders: Mapping[str, Sequence[Path]]
) -> list[Challenger]:
    """The best cells of a run, in the order of the families, with their folders."""
    board = read_document(leaderboard, "data", "best", "best_seeds")
    try:
        rows = {Cell.parse(row): row for row in board["cells"]}
        seeds = board.get("best_seeds", {})
        best = [
            Cell(family, board["best"][family], seeds.get(family))
            for family in all_families()
            if family in board["best"]
        ]
        metrics = {cell: dict(rows[cell]["metrics"]) for cell in best}
        data = str(board["data"]["digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise StepError(
            f"{leaderboard} is malformed ({error}): run the step that wrote it again"
        ) from None
    found = []
    for cell in best:
        own = {kind: _folder_of(kind, cell, given) for kind, given in folders.items()}
        model = str(read_document(own["model"] / "model.json").get("weights_digest"))
        found.append(Challenger(cell, run, model, data, metrics[cell], own))
    return found


def _folder_of(kind: str, cell: Cell, folders: Sequence[Path]) -> Path:
    metadata = "model.json" if kind == "model" else "metrics.json"
    for folder in folders:
        content = read_document(folder / metadata)
        if cell.identity.items() <= content.items():
            storage.files_to_upload(folder)
            return folder
    raise InputError(
        f"cannot publish {cell.name}: the publish step received no {kind} artifact for it; check "
        "that its train, evaluate and sample steps succeeded, then rerun the pipeline"
    )


def _alert(tracker: Tracker, run: str, decisions: Sequence[Decision]) -> None:
    """Have W&B tell of each promotion and each worse retraining, and once of images that shift."""
    for decision in decisions:
        compared = decision.comparison
        if decision.outcome in (Outcome.PROMOTED, Outcome.FORCED):
            title = f"{decision.cell.title} is the new champion"
            tracker.alert(title, f"{run}: {decision}")
        elif compared and compared.high < 0:
            title = f"{decision.cell.title} is worse than the champion"
            tracker.alert(title, f"{run}: {decision}", warns=True)
    for drift in {str(decision.drift): decision.drift for decision in decisions}.values():
        if drift and drift.warns:
            tracker.alert("The images have shifted", f"{run}: {drift}", warns=True)


def _track(tracker: Tracker, target: str, page: str, decisions: Sequence[Decision]) -> None:
    """Tell W&B: the page, the decisions as a table and in the summary, and the new champions."""
    summary: dict[str, float | str] = {}
    rows = []
    for decision in decisions:
        compared = decision.comparison
        values = [getattr(compared, name, None) for name in VALUES]
        metric = decision.cell.family.compared_by
        rows.append([decision.cell.name, decision.outcome.value, decision.reason, metric, *values])
        place = f"champion/{decision.family}"
        summary[f"{place}/outcome"] = decision.outcome.value
        summary[f"{place}/version"] = decision.champion
        if compared:
            summary |= {f"{place}/{name}": getattr(compared, name) for name in VALUES}
        if decision.outcome.moves:
            address = Champions(target, decision.family).address(decision.champion)
            tracker.makes("champion", f"champion-{decision.family}", address)
    tracker.summarize(summary)
    tracker.table("decisions", ["cell", "outcome", "reason", "metric", *VALUES], rows)
    tracker.page("report", page)
