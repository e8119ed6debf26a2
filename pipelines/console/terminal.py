"""What a local run looks like in the terminal: its steps, the leaderboard, where to look."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from genpipe.cells import Cell, Status
from genpipe.errors import InputError
from genpipe.families.registry import all_families, find_family
from genpipe.tracking.account import DEFAULT_PROJECT
from genpipe.tracking.progress import format_seconds
from genpipe.tracking.upload import marks_of
from pipelines.local.run import LocalRun, StepState
from pipelines.settings import TRAIN, explain

LAST_LINES = 25
SECONDS_BETWEEN_LINES = 30.0
# Columns of the leaderboard that have a metric of their own: its name and a short heading.
COLUMNS = {
    "mean_squared_error": "MSE",
    "pca_mean_squared_error": "PCA's",
    "total_loss": "loss",
    "frechet_distance": "FD",
    "mixture_frechet_distance": "FD mix",
    "precision": "prec",
    "coverage": "cover",
    "digits_covered": "digits",
    "largest_digit_share": "largest",
    "train_seconds": "trained",
    "images_per_second": "images/s",
}
# What the short headings stand for.
MEANINGS = {
    "MSE": "MSE: mean squared error on the test split",
    "PCA's": "PCA's: that of as many principal components",
    "loss": "loss: 784 x MSE + KL",
    "FD": "FD: Fréchet distance of samples and test images",
    "FD mix": "FD mix: that of samples from a mixture fitted to the codes, in place of N(0, I)",
    "prec": "prec: share of the samples that look real",
    "cover": "cover: share of the test images that have a sample near them",
    "digits": "digits: classes among the samples",
    "largest": "largest: share of the commonest",
}
# Where the terminal is too narrow for all, these are left out, the first first.
LEFT_OUT_FIRST = (
    "images/s",
    "units",
    "largest",
    "PCA's",
    "trained",
    "digits",
    "prec",
    "cover",
    "loss",
    "FD mix",
    "curve",
    "MSE",
)
PROSE_WIDTH = 92
WIDTH_OFF_TERMINAL = 140
FACTS_SHOWN = ("loss", "validation_loss", "discriminator_loss", "generator_loss", "accuracy")


class _Row(BaseModel):
    family: Annotated[str, AfterValidator(lambda name: find_family(name).name)]
    latent_size: int
    status: Status
    metrics: dict[str, int | float | None]
    reason: str = ""


class _Reference(BaseModel):
    metrics: dict[str, int | float | None]


class _Leaderboard(BaseModel):
    """What is shown of ``leaderboard.json``."""

    run: str
    data: dict[str, Any] = {}
    cells: list[_Row]
    best: dict[str, int]
    references: dict[str, _Reference] = {}
    unfinished: bool = False


def open_console() -> Console:
    """The terminal; in a file or a pipe, lines are long enough for the leaderboard."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OFF_TERMINAL)


def show_run(run: LocalRun, *, quick: bool) -> bool:
    """Start a run and show its steps until it ends; returns whether it succeeded."""
    console = open_console()
    cells = len(run.parameters.cells)
    sizes = ", ".join(str(size) for size in run.parameters.latent_sizes)
    families = ", ".join(find_family(name).label for name in run.parameters.families)
    console.print(f"[bold]genpipe run {run.name}[/bold]")
    console.print(f"  {families} at latent size {sizes} on {run.parameters.dataset}: {cells} cells")
    if quick:
        console.print("  --quick: small budgets, so metrics are worse than those of a full run")
    console.print(f"  everything goes to {escape(str(_shown(run.folder)))}")
    if run.account.mode == "online":
        console.print(f"  and to W&B: {escape(run.account.place('', DEFAULT_PROJECT))}")
    console.print()
    run.start()
    bars = Progress(
        TextColumn("  {task.description:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[facts]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    shown: dict[str, TaskID] = {}
    last_line: dict[str, float] = {}
    with bars:
        for step, what in run.follow():
            if what == "start":
                shown[step.name] = bars.add_task(step.name, total=None, facts="")
                last_line[step.name] = time.monotonic()
                console.print(f"  {step.name:<24} started")
            elif what == "progress":
                facts = _facts(step.progress)
                if step.name in shown:
                    bars.update(
                        shown[step.name],
                        completed=step.progress["done"],
                        total=step.progress["total"],
                        facts=facts,
                    )
                lately = time.monotonic() - last_line.get(step.name, 0)
                if not console.is_terminal and lately >= SECONDS_BETWEEN_LINES:
                    last_line[step.name] = time.monotonic()
                    share = step.progress["done"] / max(step.progress["total"], 1)
                    console.print(f"  {step.name:<24} {share:>4.0%}  {facts}", soft_wrap=True)
            elif what == "note":
                note = escape(step.note)
                console.print(f"  {step.name:<24} [dim]{note}[/dim]", soft_wrap=True)
            elif what in ("end", "cached"):
                if step.name in shown:
                    bars.remove_task(shown.pop(step.name))
                console.print(_end_line(step))
    succeeded = run.wait()
    with console.status("  sending what came from the cache to W&B"):
        problem = run.send_cached()
    if problem:
        console.print(
            f"  W&B: {escape(problem)}; `genpipe wandb sync` sends what came from the cache"
        )
    run.collect()
    return succeeded


def show_outcome(run: LocalRun, succeeded: bool) -> None:
    """Print the leaderboard, where the time went, and where to look; or what went wrong."""
    console = open_console()
    console.print()
    if not succeeded:
        _show_failure(console, run)
        return
    show_leaderboard(run.folder / "leaderboard.json", console)
    _show_times(console, run)
    folder = escape(shlex.quote(str(_shown(run.folder))))
    console.print("\n[bold]Where to look[/bold]")
    console.print(f"  {folder}/report.html", soft_wrap=True)
    console.print("      the report: open it in a browser")
    tracked = list((run.folder / "wandb").glob("offline-run-*"))
    if tracked:
        console.print(f"  wandb leet {folder}/wandb", soft_wrap=True)
        console.print("      every step's W&B run, in the terminal")
    if not all(map(marks_of, tracked)):
        console.print(f"  genpipe wandb sync {folder}", soft_wrap=True)
        console.print("      uploads the runs that are not on W&B yet, once you are logged in")
    console.print(f"  {folder}/<step>-<cell>/", soft_wrap=True)
    console.print("      what each step made; logs/ has what each step printed")


def show_leaderboard(path: Path, console: Console | None = None) -> None:
    """Print a leaderboard file as a table.

    Raises:
        InputError: it is no leaderboard, or can't be read.
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
        InputError: it is no leaderboard.
    """
    try:
        return _Leaderboard.model_validate_json(content).model_dump(mode="json")
    except ValidationError as error:
        raise InputError(f"{place} is not a leaderboard: {explain(error)}") from None


def print_leaderboard(
    board: Mapping[str, Any], console: Console, curves: Mapping[Cell, str] | None = None
) -> None:
    """Print a leaderboard as a table, without the columns that a narrow terminal has no room for.

    Args:
        board: content of ``leaderboard.json``.
        console: where to.
        curves: a sketch of how each cell's training went, for a column of its own.
    """
    from genpipe.metrics.registry import REFERENCES, format_metric

    curves = curves or {}
    present = {name for cell in board["cells"] for name in cell["metrics"]}
    columns = {name: heading for name, heading in COLUMNS.items() if name in present}
    headings = ["  model", "latent", "curve", *columns.values(), "units", ""]
    rows, styles = [], []
    for row in board["cells"]:
        metrics = row["metrics"]
        is_best = board["best"].get(row["family"]) == row["latent_size"]
        note = "best" if is_best else "" if row["status"] == "complete" else row["status"]
        units = ", ".join(
            f"{metrics[f'{kind}_units']} {kind}"
            for kind in ("active", "dead")
            if metrics.get(f"{kind}_units") is not None
        )
        curve = curves.get(Cell(row["family"], row["latent_size"]), "")
        texts = [format_metric(name, metrics.get(name)) for name in columns]
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
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index in shown:
        is_text = headings[index] in ("  model", "curve", "units", "")
        table.add_column(headings[index], justify="left" if is_text else "right", no_wrap=True)
    for texts, style in zip(rows, styles, strict=True):
        table.add_row(*(texts[index] for index in shown), style=style)
    console.print(table)
    if left_out:
        print_prose(console, f"left out, for want of room: {', '.join(left_out)}")
    for row in board["cells"]:
        if row.get("reason"):
            reason = f"{row['family']}-{row['latent_size']} {row['status']}: {row['reason']}"
            print_prose(console, reason)
    told = {"curve": f"curve: {headlines()} over the training", **MEANINGS}
    meanings = [told[headings[index]] for index in shown if headings[index] in told]
    if board["references"]:
        meanings.append("below them: what real images, a Gaussian of the pixels and noise score")
    legend = "; ".join([*meanings, "`genpipe leaderboard RUN --metrics` says what each metric is"])
    print_prose(console, legend)


def headlines() -> str:
    """What a cell's curve shows: ``validation loss (DCGAN: generator loss)``."""
    others = [
        f"{family.label}: {family.headline.replace('_', ' ')}"
        for family in all_families().values()
        if family.headline != "validation_loss"
    ]
    return f"validation loss ({', '.join(others)})" if others else "validation loss"


def print_prose(console: Console, text: str) -> None:
    """Print a sentence, indented, in lines that are read with ease."""
    width = min(console.width, PROSE_WIDTH)
    filled = textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  ")
    console.print(filled, markup=False, soft_wrap=True)


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


def show_metrics() -> None:
    """Print what each metric of the leaderboard means."""
    from genpipe.metrics.registry import METRICS

    console = open_console()
    console.print()
    for name, metric in METRICS.items():
        console.print(f"  [bold]{name}[/bold]: {metric.meaning}", soft_wrap=True)


def _show_times(console: Console, run: LocalRun) -> None:
    """Where the time went: seconds of each kind of step, and what came from the cache."""
    kinds: dict[str, list[StepState]] = {}
    for step in run.steps.values():
        kind, *cell = step.name.split("-")
        kinds.setdefault(f"{kind} {cell[0]}" if kind == TRAIN else kind, []).append(step)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("  step", "runs", "seconds", "longest", "from cache"):
        table.add_column(heading, justify="left" if heading == "  step" else "right")
    for kind, steps in kinds.items():
        ran = [step.seconds for step in steps if step.status != "cached"]
        cached = sum(step.status == "cached" for step in steps)
        table.add_row(
            f"  {kind}",
            str(len(steps)),
            f"{sum(ran):.1f}",
            f"{max(ran, default=0):.1f}",
            str(cached) if cached else "",
        )
    console.print("\n[bold]Where the time went[/bold]")
    console.print(table)
    console.print(
        f"  {format_seconds(run.seconds)} in all (steps of two cells run side by side), "
        f"at most {run.peak_memory / 2**30:.1f} GiB of memory"
    )


def _show_failure(console: Console, run: LocalRun) -> None:
    for step in run.failed:
        log = run.log_of(step)
        console.print(
            f"[bold red]{step.name} failed[/bold red]: {escape(step.error)}", soft_wrap=True
        )
        console.print(f"  the last lines of {escape(str(_shown(log)))}:\n", soft_wrap=True)
        _show_tail(console, log)
    if not run.failed:
        console.print("[bold red]the pipeline failed before or between its steps[/bold red]")
        log = run.logs / "kfp.log"
        console.print(f"  the last lines of {escape(str(_shown(log)))}:\n", soft_wrap=True)
        _show_tail(console, log)
    console.print(f"\n  what was finished is in {escape(str(_shown(run.folder)))}", soft_wrap=True)


def _show_tail(console: Console, log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines[-LAST_LINES:]:
        console.print(f"    {line}", markup=False, soft_wrap=True)


def _end_line(step: StepState) -> str:
    name = f"  {step.name:<24}"
    if step.status == "cached":
        return f"{name} [cyan]from the cache[/cyan] (took {format_seconds(step.seconds)} then)"
    if step.status == "done":
        facts = _facts(step.progress, rate_only=True)
        return f"{name} [green]done[/green] after {format_seconds(step.seconds)}  {facts}"
    return f"{name} [red]failed[/red] after {format_seconds(step.seconds)}"


def _facts(progress: dict[str, Any], *, rate_only: bool = False) -> str:
    """Rate, time left and newest losses of a progress event."""
    if not progress:
        return ""
    parts = [f"{progress['rate']:,.0f} images/s"]
    if not rate_only:
        parts.append(f"{format_seconds(progress['left'])} left")
        parts += [
            f"{name} {progress[name]:.4g}" for name in FACTS_SHOWN if progress.get(name) is not None
        ]
    return "  ".join(parts)


def _shown(path: Path) -> Path:
    """A path as short as the reader can use it: relative to where they stand, if below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
