"""The run's report: one self-contained HTML page, made from the leaderboard's results.

Everything here turns results into the plain values that ``report.html.j2`` lays out. The page
needs no network: pictures are data: URIs, charts are inline SVG, fonts are the reader's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from genpipe.cells import Status
from genpipe.families.spec import FamilySpec
from genpipe.metrics.registry import METRICS, format_metric
from genpipe.metrics.samplers import SAMPLERS, codes_from
from genpipe.reporting.captions import active_units, lead, why_the_standard_normal_fails
from genpipe.reporting.curves import latent_size_charts, training_curves
from genpipe.reporting.embedding import embed_pictures
from genpipe.reporting.explorer.page import explorer, explorers_that_fit
from genpipe.reporting.facts import data_rows, data_title, facts, families_of
from genpipe.reporting.galleries import best_grid, galleries, pictures_shown
from genpipe.reporting.palette import folding_script, looks, marker, style_sheet
from genpipe.reporting.results import Result, best_results, over_seeds, several_seeds
from genpipe.reporting.settings import changed_settings, repeat_command, told_changes
from genpipe.reporting.tables import (
    OBJECTIVE,
    SAMPLER_METRICS,
    Column,
    has_objective,
    leaderboard_columns,
    leaderboard_row,
    reach,
    reference_rows,
    sampler_rows,
    shown,
)
from genpipe.reporting.templates import open_template
from genpipe.reporting.verdicts import DISTANCE, ERROR, LABELS, Verdict, best_samples, find_verdicts
from genpipe.words import counted

# The KFP page fetches a report whole, so it stays below 2 MB. What pictures leave of that is the
# explorers', but for the rest: charts, tables, code, and the decisions of publish.
PAGE_BYTES = 1_950_000
REST_BYTES, REST_BYTES_OF_A_CELL = 120_000, 4_000
# The tag that ``in_run_folder`` marks.
BODY = "<body>"


def render_report(
    *,
    run: str,
    dataset: Mapping[str, Any],
    judge: Mapping[str, Any],
    results: Sequence[Result],
    references: Mapping[str, Any] | None = None,
    class_means: Path | None = None,
    date: str = "",
    commit: str = "",
) -> str:
    """Write the report of a run.

    Args:
        run: name of the pipeline run.
        dataset: content of the data set's ``dataset.json``.
        judge: content of the judge's ``model.json``.
        results: the cells, in the order to show them.
        references: what real images, a Gaussian and noise score by the same judge.
        class_means: picture of each class's mean image.
        date: when the run was compared, as people read it; empty where that is not known.
        commit: of the code; empty where that is not known.

    Returns:
        An HTML document below 2 MB that loads nothing from anywhere. Whatever comes from outside
        (the run's name, reasons) is escaped.
    """
    trainings, results = results, over_seeds(results)
    best, verdicts = best_results(results), find_verdicts(results, references, judge)
    files = pictures_shown(results, best)
    pictures = embed_pictures([*files, class_means] if class_means else files)
    rest = REST_BYTES + REST_BYTES_OF_A_CELL * len(results)
    room = PAGE_BYTES - rest - sum(len(uri) for uri in pictures.values())
    matter = [one.score.result for one in reversed(verdicts)] + [*best.values()]
    explored, left_out = explorers_that_fit(results, matter, room)
    names = [str(name) for name in dataset.get("class_names", "0123456789")]
    columns = leaderboard_columns(results)
    families = families_of(results)
    return open_template(Path(__file__).with_name("report.html.j2")).render(
        macros="macros.html.j2",  # named here, so that the step's digest counts it
        run=run or "unnamed run",
        title=_title(dataset, families),
        date=date,
        summary=_summary(trainings),
        changed=told_changes(changed_settings(judge, trainings)),
        repeat=repeat_command(dataset, judge, trainings),
        facts=facts(dataset, judge, trainings, commit),
        seeds=several_seeds(results),
        verdicts=[_verdict(one) for one in verdicts],
        cards=[_card(result, results, pictures, len(names)) for result in best.values()],
        columns=columns,
        column_groups=[(name, len([*own])) for name, own in groupby(columns, lambda c: c.group)],
        sampler_columns=[Column(METRICS[name].label, name) for name in SAMPLER_METRICS],
        groups=[
            {
                "style": family.name,
                "title": family.label,
                "rows": [
                    {
                        **leaderboard_row(result, columns, best, verdicts, len(names)),
                        **_time(result, results),
                    }
                    for result in own
                ],
                "sampler_rows": sampler_rows(family, own, verdicts, len(names)),
                "timed": any(result.metrics.get("train_seconds") for result in own),
                "gaussian": why_the_standard_normal_fails(family, results),
                **galleries(family, own, pictures, names),
                **training_curves(family, own),
            }
            for family in families
            if (own := [result for result in results if result.cell.family is family])
        ],
        references=reference_rows(references or {}, columns),
        charts=latent_size_charts(results),
        active_units=[
            sentence for family in families if (sentence := active_units(family, results))
        ],
        looks=looks(),
        marker=marker,
        style=style_sheet(),
        folding=folding_script(),
        data=data_rows(dataset),
        class_means=pictures.get(class_means, "") if class_means else "",
        explorer=explorer(explored, matter[0].best_training.cell.name if matter else "")
        if explored
        else "",
        explored=[cell["cell"] for cell in explored],
        left_out=left_out,
        terms=_terms(results),
    )


def in_run_folder(page: str) -> str:
    """A report with its links to logs and explorers, for where it lies beside them."""
    return page.replace(BODY, '<body class="in-run">', 1)


def _title(dataset: Mapping[str, Any], families: Sequence[FamilySpec]) -> str:
    """``MNIST: Autoencoder, VAE and DCGAN``."""
    *others, last = [family.label for family in families] or ["no model"]
    return f"{data_title(dataset)}: {', '.join(others) + ' and ' if others else ''}{last}"


def _summary(results: Sequence[Result]) -> str:
    states = [result.status for result in results]
    parts = [f"{states.count(Status.COMPLETE)} of {counted(len(states), 'cell')} complete"]
    for status in (Status.DIVERGED, Status.MISSING):
        if status in states:
            parts.append(f"{states.count(status)} {status.value}")
    return ", ".join(parts)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    score, label = verdict.score, LABELS[verdict.purpose]
    return {
        "title": f"Best {verdict.purpose}",
        "style": score.result.cell.family.name,
        "model": score.result.cell.title,
        "drawn": codes_from(score.sampler) if score.sampler else "",
        "label": label[0].upper() + label[1:],
        "term": {"reconstruction": ERROR, "samples": DISTANCE}.get(verdict.purpose, "compromise"),
        "number": score.text,
        "reason": f"{verdict.reason} {verdict.caution}".rstrip(),
    }


def _card(
    result: Result, results: Sequence[Result], pictures: Mapping[Path, str], classes: int
) -> dict[str, Any]:
    family, cell = result.cell.family, result.cell
    (sampler, file), score = best_grid(result), best_samples(result)
    drawn = f"Samples of {cell.title}, {codes_from(sampler)}"
    return {
        "style": family.name,
        "title": cell.title,
        "purpose": f"Best {family.label}{' for ' if family.purpose else ''}{family.purpose}",
        "metrics": [
            (name, METRICS[name].label, shown(name, result, classes), reach(name, result))
            for name in (*family.shown, *([OBJECTIVE] if has_objective(result) else []))
            if result.metrics.get(name) is not None
        ],
        "lead": lead(result, results),
        "uri": pictures.get(file, "") if file else "",
        "drawn": drawn + (f": Fréchet distance {score.text}" if score else ""),
    }


def _time(result: Result, results: Sequence[Result]) -> dict[str, Any]:
    """How long a cell's training took, and that as a share of the longest one."""
    longest = max(float(other.metrics.get("train_seconds") or 0) for other in results)
    own = result.metrics.get("train_seconds")
    return {
        "seconds": format_metric("train_seconds", own),
        "rate": format_metric("images_per_second", result.metrics.get("images_per_second")),
        "bar": 100 * float(own or 0) / (longest or 1),
    }


def _terms(results: Sequence[Result]) -> dict[str, list[tuple[str, Any]]]:
    """The metrics to explain: of the models and N(0, I), and those of other samplers."""
    known = [
        (name, metric)
        for name, metric in METRICS.items()
        if any(result.metrics.get(name) is not None for result in results)
    ]
    fitted = tuple(f"{sampler}_" for sampler in SAMPLERS)
    return {
        "own": [term for term in known if not term[0].startswith(fitted)],
        "of_samplers": [term for term in known if term[0].startswith(fitted)],
    }
