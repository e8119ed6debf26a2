from __future__ import annotations

from components.cells import Family
from components.compare.report import render_report
from components.publish.ledger import Comparison, Decision, Outcome, new_name
from components.publish.page import PLACE, tell

HOSTILE = "<script>alert(1)</script>"


def decision(outcome: Outcome, reason: str, comparison: Comparison | None = None) -> Decision:
    return Decision(
        id=new_name(),
        family=Family.VAE,
        latent_size=10,
        run=HOSTILE,
        model="sha256:1",
        data="sha256:2",
        outcome=outcome,
        reason=reason,
        champion=new_name(),
        comparison=comparison,
    )


def report(run: str = "run-1") -> str:
    return render_report(run=run, dataset={}, judge={}, results=[])


def test_the_report_has_one_place_for_the_decisions() -> None:
    assert report().count(PLACE) == report(run=PLACE).count(PLACE) == 1


def test_the_decisions_stand_before_the_leaderboard_with_their_figures() -> None:
    compared = Comparison("elbo", -100.0, -97.5, 2.5, 1.25, 3.75, 10_000)

    page = tell(report(), "gs://b/shelf", [decision(Outcome.PROMOTED, "better", compared)])

    assert page.index('<h2 id="champions">') < page.index('<h2 id="leaderboard">')
    for text in ("gs://b/shelf", "VAE 10", "ELBO", "-100", "-97.5", "+2.5", "+1.25 to +3.75"):
        assert text in page
    assert "better; it is the champion now." in page


def test_what_comes_from_outside_is_escaped() -> None:
    page = tell(report(), f"/{HOSTILE}", [decision(Outcome.OTHER_DATA, HOSTILE)])

    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_a_decision_the_report_stays_as_it_is() -> None:
    assert tell(report(), "", []) == report()
