"""The champions below a publish target: what is published, which version counts, and why.

    <target>/<family>/champion.json         the decision that made the champion: the pointer
    <target>/<family>/versions/<version>/   model/, evaluation/, samples/, report.html, images.npz
                                            (what its data set held), version.json
    <target>/<family>/decisions/<id>.json   every decision, one object each

A version and a decision are written once and never again; ``version.json`` comes last, so a version
that was cut off has none. Only the pointer moves, on the condition that it is what its mover read.
So a reader finds a whole champion at any time, and of two movers one wins whole. The pointer holds
its decision, and whoever moves it first sees to that decision's record: a mover that dies before it
wrote its own loses none.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from genpipe import storage
from genpipe.cells import Cell
from genpipe.data.drift import Drift
from genpipe.documents import parse_document
from genpipe.errors import InputError, StepError, shown
from genpipe.registry.comparison import Comparison

NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{8}")


class Outcome(StrEnum):
    """What was decided."""

    FIRST = "first"
    PROMOTED = "promoted"
    FORCED = "forced"
    KEPT = "kept"
    OTHER_DATA = "other data"
    ROLLED_BACK = "rolled back"

    @property
    def moves(self) -> bool:
        """Whether the pointer moves by it."""
        return self not in (Outcome.KEPT, Outcome.OTHER_DATA)


@dataclass(frozen=True)
class Decision:
    """What was decided about one model.

    Attributes:
        id: its name, which begins with the time in UTC.
        family: the model's, by name.
        latent_size: the model's.
        run: the run that made it.
        model: digest of its weights.
        data: digest of the data set it was measured on.
        outcome: what was decided.
        reason: why, in words.
        champion: the version that is champion by the decision.
        previous: the version that was champion before; empty if there was none.
        previous_model: digest of its weights.
        comparison: with the champion before; None where they were not compared.
        drift: what changed since the data of the champion before; None where that is the same.

    Raises:
        ValueError: the id or a version was not made here, or a text is not a string.
    """

    id: str
    family: str
    latent_size: int
    run: str
    model: str
    data: str
    outcome: Outcome
    reason: str
    champion: str
    previous: str = ""
    previous_model: str = ""
    comparison: Comparison | None = None
    drift: Drift | None = None

    def __post_init__(self) -> None:
        texts = (self.family, self.run, self.model, self.data, self.reason, self.previous_model)
        for name in texts:
            if not isinstance(name, str):
                raise ValueError(f"{shown(name)} is not text")
        for name in (self.id, self.champion, *filter(None, [self.previous])):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ValueError(f"{shown(name)} names neither a version nor a decision")
        _ = self.when, self.cell  # raise

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            values = parse_document(content)
            comparison, drift = values["comparison"], values.get("drift")
            return cls(
                **{
                    **values,
                    "outcome": Outcome(values["outcome"]),
                    "comparison": comparison and Comparison(**comparison),
                    "drift": drift and Drift.parse(drift),
                }
            )
        except KeyError as error:
            raise ValueError(f"it has no {error}") from None
        except TypeError:
            raise ValueError("its fields are not those of a decision") from None

    def to_bytes(self) -> bytes:
        """As JSON."""
        return _as_json(asdict(self))

    @property
    def cell(self) -> Cell:
        """The model's cell."""
        return Cell(self.family, self.latent_size)

    @property
    def when(self) -> datetime:
        """When it was decided."""
        return datetime.strptime(self.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)

    def __str__(self) -> str:
        if self.outcome is Outcome.FIRST:
            return f"{self.cell.name} published: first champion of its family"
        if self.outcome is Outcome.KEPT and not self.comparison:
            return f"{self.cell.name} not published again: {self.reason}"
        compared = f": {self.comparison}" if self.comparison else ""
        what = "not published" if self.outcome is Outcome.KEPT else self.outcome.value
        return f"{self.cell.name} {what}, {self.reason}{compared}"


@dataclass(frozen=True)
class Standing:
    """The pointer as it was read; ``decision`` is None where there is no champion yet."""

    decision: Decision | None
    snapshot: storage.Snapshot


@dataclass(frozen=True)
class Champions:
    """The champions of one family.

    Args:
        target: an absolute folder, or a prefix in a bucket.
        family: the family's name.

    Every method raises a ``StepError`` where the target can't be read or written.
    """

    target: str
    family: str

    def standing(self) -> Standing:
        """Who is champion.

        Raises:
            StepError: also if the pointer holds no decision.
        """
        snapshot = storage.snapshot(self._pointer)
        if snapshot.content is None:
            return Standing(None, snapshot)
        without = "the family then has no champion until the next publish"
        return Standing(_read_decision(self._pointer, snapshot.content, without), snapshot)

    def decisions(self) -> list[Decision]:
        """All decisions, the oldest first.

        Raises:
            StepError: also if a record holds no decision.
        """
        folder = self._at("decisions")
        names = [
            name
            for name in storage.list_files(folder)
            if NAME.fullmatch(name.removesuffix(".json"))
        ]
        found = {
            name.removesuffix(".json"): _read_decision(
                storage.join(folder, name), content, "the history then lacks this decision"
            )
            for name, content in storage.read_files(folder, names).items()
        }
        latest = self.standing().decision
        if latest:  # its mover may have died before it wrote the record
            found[latest.id] = latest
        return [found[name] for name in sorted(found)]

    def address(self, version: str, *parts: str) -> str:
        """Where a version lies, or something in it."""
        return self._at("versions", version, *parts)

    def metadata(self, version: str) -> dict[str, Any]:
        """The content of a version's ``version.json``.

        Raises:
            StepError: also if the version is not whole.
        """
        place = self.address(version, "version.json")
        try:
            return parse_document(storage.read_bytes(place), "metrics")
        except ValueError as error:
            raise StepError(
                f"cannot read the version record {place} ({error}): restore it from a backup or an "
                "object version, or roll back to another version"
            ) from None

    def add_version(
        self,
        version: str,
        folders: Mapping[str, Path],
        files: Mapping[str, bytes],
        metadata: Mapping[str, Any],
    ) -> None:
        """Publish a version; nothing points at it yet.

        Args:
            version: its name, a new one.
            folders: what it is made of, by the names it gets there.
            files: what lies beside them: the report of the run that made it, and more.
            metadata: what ``version.json`` says of it.
        """
        for name, folder in folders.items():
            storage.upload_folder(folder, self.address(version, name))
        for name, file in files.items():
            storage.write_bytes(self.address(version, name), file)
        content = _as_json({"version": version, "family": self.family, **metadata})
        storage.write_bytes(self.address(version, "version.json"), content)

    def remove_version(self, version: str) -> None:
        """Remove a version that nothing ever pointed at, as far as this account may remove it."""
        with contextlib.suppress(StepError):
            storage.remove(self.address(version))

    def move(self, standing: Standing, decision: Decision) -> bool:
        """Make a decision's version the champion, and record the decision.

        Returns:
            Whether it is: it is not if the pointer was moved since ``standing`` was read. Nothing
            is recorded then.
        """
        if standing.decision:
            self.record(standing.decision)
        if not storage.write_if_unchanged(self._pointer, decision.to_bytes(), standing.snapshot):
            return False
        self.record(decision)
        return True

    def record(self, decision: Decision) -> None:
        """Keep a decision, unless it is kept already."""
        place = self._at("decisions", f"{decision.id}.json")
        if not storage.exists(place):
            storage.write_bytes(place, decision.to_bytes())

    def roll_back(self, version: str = "") -> Decision:
        """Make a former champion the champion again.

        Args:
            version: which; the one before the present champion if empty.

        Returns:
            The decision.

        Raises:
            InputError: there is no champion, or the version was never champion, or is champion now.
            StepError: also if it is not whole, or the champion changed meanwhile.
        """
        past = self.decisions()
        standing = self.standing()
        if standing.decision is None:
            raise InputError(f"{self.family} has no champion under {self.target}")
        champion = standing.decision.champion
        version = version or standing.decision.previous
        made = {decision.champion: decision for decision in past if decision.outcome.moves}
        if not version:
            raise InputError(f"{self.family} has no earlier champion to roll back to")
        if version == champion:
            raise InputError(f"{version} is the champion of {self.family} already")
        if version not in made:
            known = ", ".join(name for name in made if name != champion) or "none"
            raise InputError(
                f"{version!r} was never champion of {self.family}: choose from {known}"
            )
        self.metadata(version)  # it is whole
        decision = replace(
            made[version],
            id=new_name(),
            outcome=Outcome.ROLLED_BACK,
            reason="by hand",
            previous=champion,
            previous_model=standing.decision.model,
            comparison=None,
            drift=None,
        )
        if not self.move(standing, decision):
            raise StepError(
                f"the champion of {self.family} changed during the rollback: check `genpipe "
                "champions list` and try again"
            )
        return decision

    def _at(self, *parts: str) -> str:
        return storage.join(self.target, self.family, *parts)

    @property
    def _pointer(self) -> str:
        return self._at("champion.json")


def new_name() -> str:
    """A name that no other has and that sorts by time: ``20261123-041502-123456-3f2a9c1b``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"


def _as_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _read_decision(place: str, content: bytes, without: str) -> Decision:
    try:
        return Decision.parse(content)
    except ValueError as error:
        raise StepError(
            f"cannot read the champion record {place} ({error}): restore it from a backup or an "
            f"object version, or move it away ({without})"
        ) from None
