"""A leaderboard in the terminal: as a table, with a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from genpipe.cells import Cell, Status
from genpipe.errors import InputError
from genpipe.families.registry import all_families, find_family
from pipelines.console.terminal import NO_BREAK_SPACE, open_console, print_prose
from pipelines.problems import explain

# Columns of the leaderboard that have a metric of their own: its name and a short heading.
COLUMNS = {
    "mean_squared_error": "MSE",
    "pca_mean_squared_error": "PCA's",
    "total_loss": "loss",
    "frechet_distance": "FD",
    "precision": "prec",
    "coverage": "cover",
    "classes_covered": "classes",
    "largest_class_share": "largest",
    "mixture_frechet_distance": "FD mix",
    "train_seconds": "trained",
    "images_per_second": "images/s",
}
# Of these the standard deviation over seeds is shown, where there are several.
SPREAD = (
    "mean_squared_error",
    "total_loss",
    "frechet_distance",
    "mixture_frechet_distance",
)
# What the short headings stand for.
MEANINGS = {
    "MSE": "reconstruction error on the test split, lower is better",
    "PCA's": "that of as many principal components",
    "loss": "negative ELBO at beta 1, less a constant: pixels x MSE + KL, lower is better",
    "FD": "Fréchet distance of samples from N(0, I) and test images, lower is better",
    "prec": "share of the samples that look real, higher is better",
    "cover": "share of the test images with a sample near them, higher is better",
    "classes": "classes found among the samples, more is better",
    "largest": "share of the commonest of them",
    "FD mix": "FD of samples from a mixture fitted to the codes, not from N(0, I)",
}
# Where the terminal is too narrow for all, these are left out, the first first.
LEFT_OUT_FIRST = (
    "images/s",
    "units",
    "largest",
    "PCA's",
    "trained",
    "classes",
    "prec",
    "cover",
    "loss",
    "FD mix",
    "curve",
    "MSE",
)


class _Row(BaseModel):
    family: Annotated[str, AfterValidator(lambda name: find_family(name).name)]
    latent_size: int
    cell_seed: int | None = None
    status: Status
    metrics: dict[str, int | float | None]
    reason: str = ""
    seeds: list[int] = []
    deviations: dict[str, float] = {}


class _Reference(BaseModel):
    metrics: dict[str, int | float | None]


class _Verdict(BaseModel):
    purpose: Literal["reconstruction", "samples", "compromise"]
    family: Annotated[str, AfterValidator(lambda name: find_family(name).name)]
    latent_size: int
    sampler: Literal["", "normal", "fitted_gaussian", "mixture"] = ""
    value: float
    half_width: float = 0.0
    reason: str = ""
    caution: str = ""


class _Leaderboard(BaseModel):
    """What is shown of ``leaderboard.json``."""

    run: str
    data: dict[str, Any] = {}
    cells: list[_Row]
    best: dict[str, int]
    over_seeds: list[_Row] = []
    best_seeds: dict[str, int] = {}
    verdicts: list[_Verdict] = []
    references: dict[str, _Reference] = {}
    unfinished: bool = False


def rows_of(board: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A row for each cell; of those that were trained with several seeds the means over them."""
    rows: Sequence[Mapping[str, Any]] = board.get("over_seeds") or board["cells"]
    return rows


def show_leaderboard(path: Path, console: Console | None = None) -> None:
    """Print a leaderboard file as a table.

    Raises:
        InputError: it is not a leaderboard, or can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    print_leaderboard(parse_leaderboard(content, str(path)), console or open_console())


def parse_leaderboard(content: bytes, place: str) -> dict[str, Any]:
    """Read what is shown of a ``leaderboard.json``.

    Args:
        content: of the file, which anybody may have written.
        place: what the error calls it.

    Raises:
        InputError: it is not a leaderboard.
    """
    try:
        return _Leaderboard.model_validate_json(content).model_dump(mode="json")
    except ValidationError as error:
        raise InputError(f"{place} is not a leaderboard: {explain(error)}") from None


def print_leaderboard(
    board: Mapping[str, Any],
    console: Console,
    curves: Mapping[Cell, str] | None = None,
    *,
    explained: bool = False,
) -> None:
    """Print a leaderboard as a table, without the columns that a narrow terminal has no room for.

    Args:
        board: content of ``leaderboard.json``.
        console: where to.
        curves: a sketch of how each cell's training went, for a column of its own; of several
            seeds that of one.
        explained: whether each metric is explained beside it, so that nothing need say how.
    """
    from genpipe.metrics.registry import format_metric, format_spread
    from genpipe.metrics.samplers import REFERENCES

    curves = curves or {}
    present = {name for cell in board["cells"] for name in cell["metrics"]}
    columns = {name: heading for name, heading in COLUMNS.items() if name in present}
    headings = ["  model", "latent", "curve", *columns.values(), "units", ""]
    rows, styles = [], []
    for row in rows_of(board):
        metrics, spread = row["metrics"], row.get("deviations", {})
        is_best = board["best"].get(row["family"]) == row["latent_size"]
        note = "best" if is_best else "" if row["status"] == "complete" else row["status"]
        units = ", ".join(
            f"{format_metric(f'{kind}_units', metrics[f'{kind}_units'])} {kind}"
            for kind in ("active", "dead")
            if metrics.get(f"{kind}_units") is not None
        )
        curve = curves.get(Cell.parse(row), "")
        texts = [
            format_metric(name, metrics.get(name))
            + (
                f" ±{format_spread(name, metrics[name], spread[name])}"
                if name in SPREAD and spread.get(name)
                else ""
            )
            for name in columns
        ]
        rows.append([f"  {row['family']}", str(row["latent_size"]), curve, *texts, units, note])
        styles.append("bold" if is_best else None)
    for name, title in REFERENCES.items():
        if reference := board["references"].get(name):
            texts = [format_metric(name, reference["metrics"].get(name)) for name in columns]
            rows.append([f"  {title}", "", "", *texts, "", ""])
            styles.append("dim")
    shown, left_out = _fit(headings, rows, console.width)
    title = "What has ended of" if board.get("unfinished") else "Leaderboard of"
    console.print(f"[bold]{title} {escape(str(board['run']))}[/bold]", soft_wrap=True)
    _print_verdicts(board.get("verdicts", ()), console)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index in shown:
        is_text = headings[index] in ("  model", "curve", "units", "")
        table.add_column(headings[index], justify="left" if is_text else "right", no_wrap=True)
    for texts, style in zip(rows, styles, strict=True):
        table.add_row(*(texts[index] for index in shown), style=style)
    console.print(table)
    if left_out:
        print_prose(console, f"not shown (terminal too narrow): {', '.join(left_out)}")
    for row in board["cells"]:
        if row.get("reason"):
            reason = f"{Cell.parse(row).name} {row['status']}: {row['reason']}"
            print_prose(console, reason)
    told = {"curve": f"{headlines()} over the training", **MEANINGS}
    if board["best"]:
        told["best"] = f"of its family on the validation split: {_deciding(board['best'])}"
    legend = [headings[index] for index in shown if headings[index] in told]
    for heading in [*legend, *(["best"] if board["best"] else [])]:
        print_prose(console, f"{heading:<9}{told[heading]}", indent=9)
    if any(row.get("deviations") for row in rows_of(board)):
        seeds = sorted({row["cell_seed"] for row in board["cells"]})
        told_seeds = ", ".join(map(str, seeds))
        print_prose(console, f"Means over the seeds {told_seeds}, ± their standard deviation.")
    if references := len([name for name in REFERENCES if name in board["references"]]):
        rows_told = "row shows" if references == 1 else f"{references} rows show"
        compared = "real images, a Gaussian fitted to the pixels, and noise"
        print_prose(console, f"The last {rows_told}, for comparison, {compared}.")
    if not explained:
        print_prose(console, "`genpipe leaderboard RUN --metrics` says what each metric is.")


def _print_verdicts(verdicts: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print which model is best for what, a line each."""
    from genpipe.reporting.verdicts import LABELS, name_of, number

    models = [name_of(Cell.parse(one), one["sampler"]) for one in verdicts]
    width = max(map(len, models), default=0)
    for verdict, model in zip(verdicts, models, strict=True):
        purpose = verdict["purpose"]
        value = number(verdict["value"], verdict["half_width"]).replace(" ", NO_BREAK_SPACE)
        told = f"{LABELS[purpose]} {value}"
        print_prose(console, f"best {purpose:<14}  {model:<{width}}  {told}", indent=21)
        if verdict["caution"]:
            print_prose(console, verdict["caution"], indent=21)
    if verdicts:
        console.print()


def _deciding(best: Mapping[str, int]) -> str:
    """What makes a cell its family's best: ``lowest MSE (Autoencoder), lowest loss (VAE)``."""
    from genpipe.metrics.registry import METRICS

    told = []
    for family in (one for one in all_families().values() if one.name in best):
        metric = METRICS[family.deciding[0]]
        plain = family.deciding[0].removeprefix("validation_")
        most = "highest" if metric.better == "higher" else "lowest"
        told.append(f"{most} {COLUMNS.get(plain, metric.label)} ({family.label})")
    return ", ".join(told)


def headlines() -> str:
    """What a cell's curve shows: ``validation loss (DCGAN: generator loss)``."""
    others = [
        f"{family.label}: {family.headline.replace('_', ' ')}"
        for family in all_families().values()
        if family.headline != "validation_loss"
    ]
    return f"validation loss ({', '.join(others)})" if others else "validation loss"


def _fit(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[int], list[str]]:
    """The columns that a table of so many characters has room for, and headings of the others.

    A column without any text is left out too, without a word.
    """
    widths = [
        max(len(text) for text in column) if any(column) else 0
        for column in (list(column) for column in zip(*rows, strict=True))
    ] or [0] * len(headings)
    shown = [index for index, own in enumerate(widths) if own]

    def needed() -> int:
        return sum(max(widths[index], len(headings[index])) + 2 for index in shown) - 2

    left_out = []
    for heading in LEFT_OUT_FIRST:
        if needed() <= width:
            break
        index = headings.index(heading) if heading in headings else -1
        if index in shown:
            shown.remove(index)
            left_out.append(heading)
    return shown, left_out


def show_metrics(board: Mapping[str, Any]) -> None:
    """Print what each metric of a leaderboard means, by what heads its column if it has one."""
    from genpipe.metrics.registry import METRICS

    console = open_console()
    console.print()
    for name, metric in METRICS.items():
        if any(row["metrics"].get(name) is not None for row in board["cells"]):
            called = f"{COLUMNS[name]} ({name})" if name in COLUMNS else name
            console.print(Padding(f"[bold]{called}[/bold]: {metric.about}", (0, 0, 0, 2)))
