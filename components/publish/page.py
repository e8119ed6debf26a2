"""The run's report with what ``publish`` decided in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from components.publish.champions import METRIC_LABELS, Decision, Outcome

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


def tell(report: str, target: str, decisions: Sequence[Decision]) -> str:
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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    rows = [_row(decision) for decision in decisions]
    section = environment.get_template("champions.html.j2").render(target=target, rows=rows)
    return report.replace(PLACE, section, 1)


def _row(decision: Decision) -> dict[str, Any]:
    compared = decision.comparison
    figures = compared and [
        METRIC_LABELS[compared.metric],
        f"{compared.champion:.5g}",
        f"{compared.challenger:.5g}",
        f"{compared.improvement:+.3g}",
        f"{compared.low:+.3g} to {compared.high:+.3g}",
    ]
    return {
        "title": decision.cell.title,
        "outcome": decision.outcome.value,
        "moved": decision.outcome.moves,
        "figures": figures,
        "reason": decision.reason,
        "sentence": SENTENCES[decision.outcome].format(reason=decision.reason),
    }
