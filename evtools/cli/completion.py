"""Shell completion, by click; `evtools completion`, which prints the scripts."""

import os
from typing import Final

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete

from evtools.cam.options import BUILT_IN
from evtools.cli import types
from evtools.cli.tools import CONTEXT, TOOLS, TOPICS, command

_SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
#: Shell: the name under which it searches for the script.
FILES: Final = {"bash": "bash/evtools", "zsh": "zsh/_evtools", "fish": "fish/evtools.fish"}
_VARIABLE: Final = "_EVTOOLS_COMPLETE"
#: click's scripts are of one program; ours are of four, so they call the one on the line.
_CALLED: Final = {"bash": "$1", "zsh": "$words[1]", "fish": "(commandline -opc)[1]"}
#: After a field or a scheme no blank: its value follows.  fish knows by itself.
_NO_BLANK: Final = {
    "bash": (
        "    return 0",
        "    [[ ${COMPREPLY[0]-} == *[:/] ]] && compopt -o nospace\n    return 0",
    ),
    "zsh": (
        "compadd -U",
        'local -a end; [[ $completions[1] == *[:/] ]] && end=(-S ""); compadd "${end[@]}" -U',
    ),
    "fish": ("", ""),
}
#: The columns of all views of evtop; to import those would take half a second at a tab.
COLUMNS: Final = """
    about active age backlog beat consumed_by consumers count depth empty_in exc failed first
    in_rate last load missed name net_per_min next ok oldest out_rate outcome overdue period
    pool processed processes published queue queues rate ready received retried retries root run_max
    run_p50 run_p95 run_p99 runtime share since skew state status story text time trend
    type
    unacked uuid version wait wait_p95 worker workers
"""
_WORDS: Final = {
    "broker": "redis:// rediss:// sentinel:// amqp:// amqps://", "camera": " ".join(BUILT_IN),
    "sort": COLUMNS, "speed": "1x 10x max",
}  # fmt: skip
_HELP: Final = """\
Print a script that lets a shell complete the options of evtools, evtop, evdump and
evcam.  Without SHELL, for the one in the variable SHELL.  The folder that it is
written to must exist.

\b
Examples:
  evtools completion bash > ~/.local/share/bash-completion/completions/evtools
  evtools completion zsh > ~/.zfunc/_evtools      with ~/.zfunc in fpath
  evtools completion fish > ~/.config/fish/completions/evtools.fish

In bash, evtop and the others are completed under their own names once they are
linked to that file, or with `source <(evtools completion bash)` in ~/.bashrc.
"""


@click.command("completion", help=_HELP, context_settings={**CONTEXT})
@click.argument("shell", required=False, type=click.Choice([*_SHELLS]), metavar="[SHELL]")
def completion(shell: str | None) -> int:
    """Print a completion script."""
    shell = shell or os.environ.get("SHELL", "").rpartition("/")[2]
    if shell not in _SHELLS:
        raise click.UsageError(f"which shell? one of: {', '.join(_SHELLS)}")
    click.echo(script(shell), nl=False)
    return 0


def script(shell: str) -> str:
    """Return click's script for a shell, for all four programs."""
    separator = " --command " if shell == "fish" else " "
    programs = separator.join(("evtools", "evtop", "evdump", "evcam"))
    text = ""
    for line in _SHELLS[shell].source_template.replace(*_NO_BLANK[shell], 1).splitlines():
        registers = "compdef" in line or line.lstrip().startswith("complete ")
        text += line.replace("%(prog_name)s", programs if registers else _CALLED[shell]) + "\n"
    return text % {"complete_func": "_evtools_completion", "complete_var": _VARIABLE}


# --- at a tab -----------------------------------------------------------------------


def complete(name: str) -> int:
    """Print the completions that the script asks for, of a tool, or with "" of evtools."""
    shell, _, _ = os.environ[_VARIABLE].partition("_")
    if shell not in _SHELLS:
        return 1
    completer = _SHELLS[shell](click.Command(name), {}, name, _VARIABLE)
    args, incomplete = completer.get_completion_args()
    # bash takes words apart at = and at :.
    follows = "=" in (incomplete, *args[-1:])
    args = [word for word in args if word != "="]
    if follows and args[-2:-1] in (["-b"], ["--broker"]):
        args.pop()  # the name of a cluster
    if ":" in (incomplete, *args[-1:]):
        return 0
    if not name:
        purposes = {name: tool.purpose for name, tool in TOOLS.items()}
        if args in ([], ["help"]):
            more = dict(TOPICS) if args else {"help": "show help", "--help": "", "--version": ""}
            for word, purpose in (purposes | more).items():
                if word.startswith(incomplete):
                    item = CompletionItem(word, help=purpose or None)
                    click.echo(completer.format_completion(item))
            return 0
        name, *args = args
        name = name.removeprefix("ev")
    if name not in TOOLS:
        return 0
    completer.cli = command(name)
    option, equals, value = incomplete.partition("=")
    attached = option.startswith("--") and bool(equals)
    if attached:
        args, incomplete = [*args, option], value
    for item in completer.get_completions(args, incomplete):
        if attached:
            item.value = f"{option}={item.value}"
        click.echo(completer.format_completion(item))
    return 0


def candidates(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the completions for the value of an option or argument."""
    metavar, name = param.make_metavar(ctx), param.name or ""
    if metavar.removesuffix("...") in ("FILE", "DIR"):
        return [CompletionItem(incomplete, type="dir" if metavar == "DIR" else "file")]
    words = _WORDS.get(name, "").split()
    if isinstance(param.type, click.Choice):
        words = [*param.type.choices]
    elif param.type is types.FILTER:
        from evtools.filters import EVENT_FIELDS, TASK_FIELDS

        fields = TASK_FIELDS if ctx.command.name == "evtop" else EVENT_FIELDS
        words = [f"{field}:" for field in fields]
    elif name in ("uid", "gid"):
        import grp
        import pwd

        words = [each[0] for each in (pwd.getpwall() if name == "uid" else grp.getgrall())]
    elif name == "broker" and (cluster := types.split_name(incomplete)[0]):
        words = [f"{cluster}={word}" for word in words]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
