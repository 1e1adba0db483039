"""The completion command: what a shell has to read to complete our options."""

import os
from typing import Final

import click

from evtools.cli.command import CONTEXT

SHELLS: Final = ("bash", "zsh", "fish")
_HELP: Final = """\
Print what lets a shell complete the options of evtools, evtop, evdump and evcam.
Without SHELL: for the one in the variable SHELL.

\b
Examples:
  evtools completion bash > ~/.local/share/bash-completion/completions/evtools
  evtools completion zsh > ~/.zfunc/_evtools      with ~/.zfunc in fpath
  evtools completion fish > ~/.config/fish/completions/evtools.fish

In bash, evtop and the others find it under their own names: link them to it, or
put `source <(evtools completion bash)` into ~/.bashrc.
"""


@click.command("completion", help=_HELP, context_settings={**CONTEXT})
@click.argument("shell", required=False, type=click.Choice(SHELLS), metavar="[SHELL]")
def completion(shell: str | None) -> int:
    """Print what a shell has to read."""
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119
    if shell not in SHELLS:
        raise click.UsageError(f"which shell? one of: {', '.join(SHELLS)}")
    from evtools.cli.completions import script  # noqa: PLC0415  (start-up time)

    click.echo(script(shell), nl=False)
    return 0
