"""The run's report with what ``publish`` decided in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genpipe.families.spec import COMPARED_BY
from genpipe.registry.champions import Decision, Outcome
from genpipe.reporting.templates import open_template

# Where the page that ``compare`` wrote has room for the section. Text from outside is escaped
# there, so that the page holds it once.
PLACE = "<!-- champions -->"

SENTENCES = {
    Outcome.FIRST: "the first champion of its family.",
    Outcome.PROMOTED: "{reason}; it is the champion now.",
    Outcome.FORCED: "{reason}; it is the champion now by force.",
    Outcome.KEPT: "{reason}; the champion stays as it was.",
    Outcome.OTHER_DATA: "{reason}; the champion stays as it was.",
}


def add_decisions(report: str, target: str, decisions: Sequence[Decision]) -> str:
    """Put the decisions into a report.

    Args:
        report: the HTML page that ``compare`` wrote.
        target: where the champions are.
        decisions: of the run's families; the page stays as it is if there are none.

    Returns:
        The page with a section on the champions, whatever comes from outside escaped.
    """
    if not decisions:
        return report
    section = open_template(Path(__file__).with_name("champions.html.j2")).render(
        target=target,
        decisions=decisions,
        news={
            str(decision.drift): decision.drift.warns for decision in decisions if decision.drift
        },
        sentences=SENTENCES,
        labels=COMPARED_BY,
    )
    return report.replace(PLACE, section, 1)
