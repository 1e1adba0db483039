"""A program that knows the broker's URL or its password, such as a token."""

import atexit
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Final

from evtools.errors import BrokerUnavailable, UsageError
from evtools.text import hide_credentials, sanitize
from evtools.transport.url import with_password

#: How long it may take, in seconds: it may have to ask somebody far away.
_PATIENCE: Final = 30.0
_ANSWER_MAX_BYTES: Final = 64 * 1024
_SHOWN_CHARS: Final = 300
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def ask(command: Sequence[str], base: Callable[[], str]) -> str:
    """Return the URL that `command` prints, or that of `base` with its password.

    No shell is involved, and what it prints is shown nowhere.  Raise
    BrokerUnavailable where it fails, and UsageError where it cannot be run at all.
    """
    answer = _answer(command)
    if _URL.match(answer):
        return answer
    return with_password(base(), answer)


def _answer(command: Sequence[str]) -> str:
    out, errors, status = _run(command)
    if status != 0:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        raise _failed(command, f"it ended with {how}", errors)
    try:
        answer = out.decode().strip()
    except UnicodeDecodeError:
        raise _failed(command, "what it prints is no text", b"") from None
    if not answer or not answer.isprintable() or len(out) > _ANSWER_MAX_BYTES:
        raise _failed(command, "it must print one line: the URL, or a password", errors)
    return answer


def _run(command: Sequence[str]) -> tuple[bytes, bytes, int]:
    try:
        # In a session of its own it cannot ask on our terminal, and ends whole.
        process = subprocess.Popen(  # noqa: S603  (what the user wants to be run)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"--broker-command: cannot run {command[0]}: {error.strerror}",
            "it is run without a shell: a program and its arguments",
        ) from None
    # We may end meanwhile, in another thread than this one, and it must not stay.
    atexit.register(_end, process)
    with process:
        try:
            out, errors = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            _end(process)
            raise _failed(command, f"no answer in {_PATIENCE:g}s", b"") from None
        except BaseException:
            _end(process)
            raise
        finally:
            atexit.unregister(_end)
    return out, errors, process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failed(command: Sequence[str], why: str, errors: bytes) -> BrokerUnavailable:
    said = " ".join(errors.decode(errors="replace").split())[:_SHOWN_CHARS]
    # Its arguments may be secrets.
    what = f"--broker-command {command[0]}: {why}"
    text = sanitize(f"{what}: {said}" if said else what)
    return BrokerUnavailable(hide_credentials(text))
