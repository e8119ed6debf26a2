"""``genpipe completion``."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from pipelines.settings import LATEST

EXAMPLES = """
\b
Examples:
  genpipe completion bash >> ~/.bashrc
  genpipe completion zsh >> ~/.zshrc
  genpipe completion fish > ~/.config/fish/completions/genpipe.fish
"""


def complete_run(
    context: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The local runs whose names begin so; folders where it is a path."""
    from pipelines.runs.listing import run_folders

    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="dir")]
    if context.params.get("environment"):  # on a cluster: asking takes too long
        return []
    folders = run_folders(context.params.get("runs") or Path("runs"))
    names = [LATEST, *sorted(folder.name for folder in folders)] if folders else []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    It completes the names of local runs too. It counts in shells that are opened after it was
    written to the file.
    """
    made = get_completion_class(shell)
    assert made  # click brings all three
    click.echo(made(context.find_root().command, {}, "genpipe", "_GENPIPE_COMPLETE").source())
