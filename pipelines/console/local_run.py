"""A local run in the terminal: its steps as they go on, what came of them, where to look."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from genpipe.families.registry import find_family
from genpipe.reporting.settings import told_changes
from genpipe.storage import is_remote
from genpipe.tracking.account import DEFAULT_PROJECT
from genpipe.tracking.progress import format_seconds
from genpipe.tracking.upload import marks_of
from genpipe.words import counted, plural
from pipelines.console.leaderboard import show_leaderboard
from pipelines.console.results import grey, show_samples
from pipelines.console.terminal import link, open_console, print_prose
from pipelines.local.run import LocalRun, StepState
from pipelines.parameters import Parameters
from pipelines.settings import TRAIN

LAST_LINES = 25
SECONDS_BETWEEN_LINES = 30.0
FACTS_SHOWN = ("loss", "validation_loss", "discriminator_loss", "generator_loss", "accuracy")
# Parameters that other lines of a run's introduction say.
INTRODUCED = ("dataset", "families", "latent_sizes", "seeds", "publish_to")
# Characters of a line of progress before its facts.
BAR_AND_NAME = 60


def shorter_budgets(parameters: Parameters) -> list[str]:
    """Families that train for less long than the published originals: ``VAE 11 of 30 epochs``."""
    told = []
    for name in parameters.families:
        family = find_family(name)
        unit = family.budget
        own = parameters.settings.get(name, {}).get(unit, family.fields[unit].default)
        if own < family.full.get(unit, 0):
            told.append(f"{family.label} {own:,} of {family.full[unit]:,} {unit}")
    return told


def show_run(run: LocalRun, *, quick: bool, verbose: bool) -> bool:
    """Start a run and show its steps until it ends, and if ``verbose`` all that they say.

    Returns:
        Whether it succeeded.
    """
    console = open_console()
    introduce(console, run, quick=quick)
    console.print()
    run.start()
    bars = Progress(
        TextColumn("  {task.description:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[facts]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    room = console.width - BAR_AND_NAME if console.is_terminal else 0
    shown: dict[str, TaskID] = {}
    last_line: dict[str, float] = {}
    pictured: set[str] = set()  # families, of which the first cell's images are enough
    with bars:
        for step, what in run.follow():
            if what == "start":
                shown[step.name] = bars.add_task(step.name, total=None, facts="")
                last_line[step.name] = time.monotonic()
                console.print(f"  {step.name:<24} started")
            elif what == "progress":
                done, total = step.progress["done"], step.progress["total"]
                facts = _facts(step.progress, room) if done < total else "finishing"
                facts = f"{done / max(total, 1):>4.0%}  {facts}"
                if step.name in shown:
                    bars.update(shown[step.name], completed=done, total=total, facts=facts)
                lately = time.monotonic() - last_line.get(step.name, 0)
                if not console.is_terminal and lately >= SECONDS_BETWEEN_LINES:
                    last_line[step.name] = time.monotonic()
                    console.print(f"  {step.name:<24} {facts}", soft_wrap=True)
            elif what == "note" or (what == "say" and verbose):
                note = escape(step.note)
                console.print(f"  {step.name:<24} [dim]{note}[/dim]", soft_wrap=True)
            elif what == "images":
                family = step.name.split("-")[1]
                if family not in pictured:
                    pictured.add(family)
                    console.print(f"  {step.name}:")
                    show_samples(
                        console, [(told, grey(rows)) for told, rows in step.images.items()]
                    )
            elif what in ("end", "cached"):
                if step.name in shown:
                    bars.remove_task(shown.pop(step.name))
                console.print(_end_line(step))
    succeeded = run.wait()
    online = run.account.mode == "online"
    sending = (
        console.status("  sending what came from the cache to W&B") if online else nullcontext()
    )
    with sending:
        problem = run.send_cached()
    if problem:
        folder = escape(shlex.quote(str(_shown(run.folder))))
        console.print(
            f"  {escape(problem)}. Nothing is lost: run `genpipe wandb sync {folder}` later.",
            soft_wrap=True,
        )
    run.collect()
    return succeeded


def introduce(console: Console, run: LocalRun, *, quick: bool) -> None:
    """Print what is trained on what, with which settings, and where that goes."""
    cells = counted(len(run.parameters.cells), "cell")
    families = ", ".join(find_family(name).label for name in run.parameters.families)
    again = ", which goes on" if run.goes_on else ""
    console.print(f"[bold]genpipe run {run.name}[/bold]{again}")
    console.print(
        f"  {families} at {_listed('latent size', run.parameters.latent_sizes)} on "
        f"{run.parameters.dataset}"
        + (f" with {_listed('seed', run.parameters.seeds)}" if run.parameters.seeds else "")
        + f": {cells}"
    )
    changed = {
        name: both for name, both in run.parameters.changed().items() if name not in INTRODUCED
    }
    if changed:
        told = f"settings that differ from the defaults: {told_changes(changed)}"
        print_prose(console, told, indent=2)
    shorter = shorter_budgets(run.parameters)
    if shorter and not quick:
        print_prose(
            console,
            f"shorter training than in the original publications ({', '.join(shorter)}); use "
            "--full for the full length",
        )
    if quick:
        console.print(
            "  --quick trains only briefly, so scores are worse than those of a default run"
        )
    console.print(f"  output folder: {_link(run.folder)}", soft_wrap=True)
    if run.parameters.publish_to:
        target = run.parameters.publish_to
        where = escape(target) if is_remote(target) else _link(Path(target))
        console.print(f"  the best models are published to {where}", soft_wrap=True)
    if run.account.mode == "online":
        console.print(f"  and to W&B: {escape(run.account.place('', DEFAULT_PROJECT))}")


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
    report = run.folder / "report.html"
    console.print(f"  {_link(report)}", soft_wrap=True)
    console.print("      the report: open it in a browser")
    tracked = sorted((run.folder / "wandb").glob("*/offline-run-*"))
    # With curves, if there is one.
    shown = next((at for at in tracked if at.parent.name.startswith(f"{TRAIN}-")), None)
    if shown:
        console.print(f"  wandb leet {folder}/wandb/{shown.parent.name}", soft_wrap=True)
        console.print(
            "      shows a W&B run in the terminal (h lists the keys, q quits);\n"
            "      wandb/ has a folder for each step and cell"
        )
    if not all(map(marks_of, tracked)):
        console.print(f"  genpipe wandb sync {folder}", soft_wrap=True)
        console.print("      uploads the runs that are not on W&B yet, once you are logged in")
    console.print(f"  {link(run.folder, f'{_shown(run.folder)}/<step>-<cell>/')}", soft_wrap=True)
    console.print("      what each step made; logs/ has what each step printed")
    target = run.parameters.publish_to
    if target:
        console.print(f"  genpipe champions list {escape(shlex.quote(target))}", soft_wrap=True)
        console.print("      the published models")


def show_what_is_left(run: LocalRun) -> None:
    """Print of a run that was stopped what of it there is, and how to go on."""
    console = open_console(stderr=True)
    finished = len(run.finished)
    told = f"No step had finished. Logs: {_link(run.logs)}"
    if finished:
        outputs = "its output is" if finished == 1 else "their outputs are"
        told = f"{counted(finished, 'step')} had finished; {outputs} in {_link(run.folder)}."
    console.print(f"Stopped. {told}", soft_wrap=True)
    console.print(_how_to_go_on(run), markup=False, soft_wrap=True)


def _how_to_go_on(run: LocalRun) -> str:
    return (
        f"To go on: genpipe run --resume {shlex.quote(str(_shown(run.folder)))}\n"
        "(finished steps are not run again, and trainings go on from their last checkpoints)"
    )


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
    spent = "since it was resumed" if run.goes_on else "in all"
    console.print("\n[bold]Where the time went[/bold]")
    console.print(table)
    console.print(
        f"  {format_seconds(run.seconds)} {spent} (cells run in parallel), "
        f"at most {run.peak_memory / 2**30:.1f} GiB of memory"
    )


def _show_failure(console: Console, run: LocalRun) -> None:
    for step in run.failed:
        console.print(
            f"[bold red]{step.name} failed[/bold red]: {escape(step.error)}", soft_wrap=True
        )
        # What the step says of its end is said above.
        own = (f"error: {step.error}", f"{step.name}: failed after ")
        _show_tail(console, run.log_of(step), own)
    if not run.failed:
        console.print("[bold red]the pipeline failed before or between its steps[/bold red]")
        _show_tail(console, run.logs / "kfp.log")
    folder, logs = map(_link, (run.folder, run.logs))
    finished = f"The finished steps are in {folder}" if run.finished else "No step finished"
    console.print(f"\n  {finished}. Logs: {logs}", soft_wrap=True)
    console.print(textwrap.indent(_how_to_go_on(run), "  "), markup=False, soft_wrap=True)


def _show_tail(console: Console, log: Path, known: tuple[str, ...] = ()) -> None:
    """Print where a log is and its last lines, without those that begin with what is known."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line and not line.startswith(known)]
    place = _link(log)
    if not lines:
        console.print(f"  log: {place}", soft_wrap=True)
        return
    console.print(f"  the last lines of {place}:\n", soft_wrap=True)
    for line in lines[-LAST_LINES:]:
        console.print(f"    {line}", markup=False, soft_wrap=True)


def _end_line(step: StepState) -> str:
    name = f"  {step.name:<24}"
    if step.status == "cached":
        return f"{name} [cyan]from the cache[/cyan] (originally {format_seconds(step.seconds)})"
    if step.status == "done":
        facts = _facts(step.progress, rate_only=True)
        return f"{name} [green]done[/green] after {format_seconds(step.seconds)}  {facts}".rstrip()
    return f"{name} [red]failed[/red] after {format_seconds(step.seconds)}"


def _facts(progress: dict[str, Any], room: int = 0, *, rate_only: bool = False) -> str:
    """Rate, time left and newest losses of a progress event, as many as there is room for."""
    if not progress:
        return ""
    parts = [f"{progress['rate']:,.0f} images/s"]
    if not rate_only:
        parts.append(f"{format_seconds(progress['left'])} left")
        parts += [
            f"{name} {progress[name]:.4g}" for name in FACTS_SHOWN if progress.get(name) is not None
        ]
    while room and len(parts) > 1 and len("  ".join(parts)) > room:
        parts.pop()
    return "  ".join(parts)


def _listed(thing: str, values: Sequence[int]) -> str:
    """``seed 0``, ``latent sizes 2, 10``."""
    return f"{plural(thing, len(values))} {', '.join(map(str, values))}"


def _link(path: Path) -> str:
    """Markup of a path as short as the reader can use it."""
    return link(path, str(_shown(path)))


def _shown(path: Path) -> Path:
    """A path as short as the reader can use it: relative to where they stand, if below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
