from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from genpipe.registry.champions import Decision, Outcome, new_name
from genpipe.registry.comparison import Comparison
from genpipe.reporting.decisions import PLACE, add_decisions
from genpipe.reporting.report import render_report

HOSTILE = "<script>alert(1)</script>"


def decision(outcome: Outcome, reason: str, comparison: Comparison | None = None) -> Decision:
    return Decision(
        id=new_name(),
        family="vae",
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

    page = add_decisions(report(), "gs://b/shelf", [decision(Outcome.PROMOTED, "better", compared)])

    assert page.index('<h2 id="champions">') < page.index('<h2 id="leaderboard">')
    for text in ("gs://b/shelf", "VAE 10", "ELBO", "-100", "-97.5", "+2.5", "+1.25 to +3.75"):
        assert text in page
    assert "better; it is the champion now." in page
    # On a phone a row is a card, without the table's head.
    assert '<td data-label="95% interval">+1.25 to +3.75</td>' in page


def test_what_comes_from_outside_is_escaped() -> None:
    page = add_decisions(report(), f"/{HOSTILE}", [decision(Outcome.OTHER_DATA, HOSTILE)])

    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_a_decision_the_report_stays_as_it_is() -> None:
    assert add_decisions(report(), "", []) == report()


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


MARKUP = st.text("<>&\"'=/!- abscript\n")


@given(MARKUP, MARKUP)
def test_no_text_from_outside_makes_a_tag(target: str, reason: str) -> None:
    plain = add_decisions(PLACE, "shelf", [decision(Outcome.OTHER_DATA, "reason")])

    page = add_decisions(PLACE, target, [decision(Outcome.OTHER_DATA, reason)])

    assert _Tags(page).found == _Tags(plain).found
