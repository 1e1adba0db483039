"""How a tool ends: what it says on stderr, and its exit status."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from evtools.errors import BrokerUnavailable, EvtoolsError, FilterError, OutputError

if TYPE_CHECKING:
    import click

#: All exit statuses, for the manual.
EXIT_CODES: Final[Mapping[int, str]] = {
    0: "Ended as asked: by a limit, at the end of a file, by ctrl-c or SIGTERM.",
    1: "An unexpected error, or nothing matched --expect.",
    2: "Wrong usage: an option, a filter, a template, a broker without events.",
    69: "The broker cannot be reached or refuses us.",
    70: "The camera failed too often.",
    73: "A file cannot be created or written.",
    78: "The settings file is wrong.",
    124: "--timeout came before --count was reached.",
    130: "Ended by a second ctrl-c.",
    141: "Whoever read our output went away.",
}

_OFF = ("", "0", "false", "no", "off")
#: Nobody's mistake but that of a disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def run(tool: str, load: "Callable[[], click.Command]", arguments: Sequence[str]) -> int:
    """Run the command that `load` returns; print what goes wrong.

    Return the exit status.
    """
    variable = os.environ.get("EVTOOLS_DEBUG", "").lower()
    debug = "--debug" in arguments or variable not in _OFF
    return run_plainly(tool, lambda: _run(tool, load, arguments), debug=debug)


def run_plainly(tool: str, body: Callable[[], int], *, debug: bool = False) -> int:
    """Run what needs no command; print what goes wrong, and return the status."""
    _fill_closed_streams()
    _write_utf8()
    return guard(tool, body, debug=debug)


def _fill_closed_streams() -> None:
    """Put /dev/null where our caller closed a standard stream.

    Otherwise the next file or socket we open would get its number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))


def _write_utf8() -> None:
    """Print what we have to say as what we print of events: in UTF-8, anywhere.

    By its locale Python may know no letter outside ASCII, and raise.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def guard(tool: str, body: Callable[[], int], *, debug: bool) -> int:
    """Return what `body` returns, or the status of the error it raises."""
    try:
        return _flushed(body())
    except BrokenPipeError:
        return _die_of_broken_pipe()
    except KeyboardInterrupt:
        from evtools.signals import end_echo  # noqa: PLC0415  (start-up time)

        end_echo()
        return _INTERRUPTED
    except EvtoolsError as error:
        return fail(tool, error, debug=debug)
    except Exception as error:  # noqa: BLE001  (the last one who can say anything)
        return _unexpected(tool, error, debug=debug)


def _unwritable(error: OSError) -> OutputError:
    """Say that a disk is full; a name is known only of files that were opened."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    where = f" to {error.filename}" if error.filename else ""
    return OutputError(f"cannot write{where}: {error.strerror}")


def _run(tool: str, load: "Callable[[], click.Command]", arguments: Sequence[str]) -> int:
    import click  # noqa: PLC0415  (start-up time)

    try:
        command = load()
        with command.make_context(tool, list(arguments)) as ctx:
            return int(command.invoke(ctx) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        _say(tool, error.format_message(), _usage_hint(tool, error))
        return error.exit_code


def _usage_hint(tool: str, error: "click.ClickException") -> str:
    import click  # noqa: PLC0415  (start-up time)
    from click.core import ParameterSource  # noqa: PLC0415  (start-up time)

    from evtools.cli.command import variable_of  # noqa: PLC0415  (start-up time)

    if isinstance(error, click.BadParameter) and error.ctx and error.param:
        name = error.param.name or ""
        if error.ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
            return f"it comes from the variable {variable_of(error.ctx, name)}"
    return f"{tool} --help lists all options"


def fail(tool: str, error: EvtoolsError, *, debug: bool = False) -> int:
    """Print an error of ours on stderr; return its exit status."""
    if debug:
        _print_traceback(error)
    hint = error.hint
    if isinstance(error, FilterError):
        from evtools.filters import caret  # noqa: PLC0415  (start-up time)

        _say(tool, error.message, "", below=caret(error))
        _indent(hint)
    else:
        _say(tool, error.message, hint)
    if isinstance(error, BrokerUnavailable):
        from evtools.transport.live import DOCTOR  # noqa: PLC0415  (start-up time)

        _indent(DOCTOR)
    return error.exit_code


def _say(tool: str, message: str, hint: str, *, below: str = "") -> None:
    from evtools.text import hide_credentials, sanitize  # noqa: PLC0415  (ditto)

    text = sanitize(hide_credentials(message))
    print(f"{tool}: {text}", file=sys.stderr)  # noqa: T201  (its purpose)
    if below:
        print(below, file=sys.stderr)  # noqa: T201  (its purpose)
    _indent(hint)


def _indent(text: str) -> None:
    from evtools.text import sanitize  # noqa: PLC0415  (start-up time)

    for line in text.splitlines():
        print(f"  {sanitize(line)}", file=sys.stderr)  # noqa: T201  (its purpose)


def _unexpected(tool: str, error: Exception, *, debug: bool) -> int:
    """Report a mistake of ours."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return fail(tool, _unwritable(error), debug=debug)
    if debug:
        _print_traceback(error)
    text = " ".join(str(error).split())
    _say(
        tool,
        f"unexpected {type(error).__name__}: {text}",
        "" if debug else "this is a mistake in evtools; --debug shows the traceback",
    )
    return 1


def _print_traceback(error: Exception) -> None:
    """Print where an error comes from; what is behind it may quote whole URLs."""
    import traceback  # noqa: PLC0415  (start-up time)

    from evtools.text import hide_credentials, sanitize_lines  # noqa: PLC0415  (ditto)

    lines = "".join(traceback.format_exception(error))
    text = sanitize_lines(hide_credentials(lines))
    print(text, file=sys.stderr)  # noqa: T201  (its purpose)


def _flushed(status: int) -> int:
    """Write out what Python holds back: later nobody would notice a failure."""
    sys.stdout.flush()
    return status


def _die_of_broken_pipe() -> int:
    """Die as programs do whose reader has gone, without a word."""
    _discard_output()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return _BROKEN_PIPE


def _discard_output() -> None:
    """Let go what Python still holds back: at the end it would fail once more."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a path of the system)
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
