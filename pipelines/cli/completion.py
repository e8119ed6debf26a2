"""``genpipe completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EXAMPLES = """
\b
Examples:
  genpipe completion bash >> ~/.bashrc
  genpipe completion zsh >> ~/.zshrc
  genpipe completion fish > ~/.config/fish/completions/genpipe.fish
"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    It counts in shells that are opened after it was written to the file.
    """
    made = get_completion_class(shell)
    assert made  # click brings all three
    click.echo(made(context.find_root().command, {}, "genpipe", "_GENPIPE_COMPLETE").source())
