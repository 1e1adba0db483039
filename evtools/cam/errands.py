"""What evcam can be asked in place of running: status, stop, check."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from evtools.cam import app
from evtools.cam.choices import Errand
from evtools.cam.options import CamOptions
from evtools.cam.pidfile import holder_of
from evtools.cam.privileges import become, identity
from evtools.cam.process import import_early, settle
from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, UsageError
from evtools.transport import ConnectionSettings, EventReceiver, Notice

#: As LSB has them for init scripts.
RUNS: Final = 0
NOT_IN_TIME: Final = 1
NOT_RUNNING: Final = 3
UNKNOWN: Final = 4

_PAUSE: Final = 0.05
#: What ending takes besides the last shot, at the most.
_MARGIN: Final = 5.0


class Answer(NamedTuple):
    """An exit status and what to say."""

    status: int
    text: str


def run(errand: Errand, options: CamOptions, settings: ConnectionSettings) -> Answer:
    """Return the answer to an errand.

    Raise EvtoolsError where there is none, and for what the user must mend.
    """
    match errand:
        case "status":
            return status(_pidfile(options))
        case "stop":
            timeout = options.shutdown_timeout + _MARGIN
            return stop(_pidfile(options), timeout=timeout)
        case "check":
            return check(options, settings)


def status(pidfile: str) -> Answer:
    """Tell whether the evcam of a pidfile runs."""
    try:
        with holder_of(pidfile) as holder:
            if holder is None:
                return _none(pidfile)
            return Answer(RUNS, f"evcam runs, process {holder.number}")
    except OSError as error:
        return Answer(UNKNOWN, f"cannot read {pidfile}: {error.strerror}")
    except EvtoolsError as error:
        return Answer(UNKNOWN, error.message)


def stop(
    pidfile: str,
    *,
    timeout: float,
    clock: Clock | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Answer:
    """End the evcam of a pidfile, and return when it is gone.

    It takes a last shot before it ends, so `timeout` (seconds) must be longer
    than its --shutdown-timeout.  Raise EvtoolsError where we may not.
    """
    clock = clock or SystemClock()
    try:
        with holder_of(pidfile) as holder:
            if holder is None:
                return _none(pidfile)
            holder.end()
            deadline = clock.monotonic() + timeout
            who = f"evcam, process {holder.number},"
            while holder.lives():
                if clock.monotonic() >= deadline:
                    text = f"{who} has not ended within {timeout:g}s"
                    return Answer(NOT_IN_TIME, text)
                pause(_PAUSE)
            return Answer(RUNS, f"{who} has ended")
    except ProcessLookupError:
        return Answer(RUNS, "evcam has ended")
    except OSError as error:
        raise EvtoolsError(f"cannot stop evcam: {error.strerror}: {pidfile}") from None


def _none(pidfile: str) -> Answer:
    return Answer(NOT_RUNNING, f"evcam does not run: no process has {pidfile}")


def check(options: CamOptions, settings: ConnectionSettings) -> Answer:
    """Try camera and broker, as the user that evcam would run as; take no shot.

    Raise EvtoolsError for what would not work.
    """
    owner = identity(options.uid, options.gid)
    settle(options, owner)
    if owner is not None:
        import_early(options, settings)
        become(owner, os.environ)
    camera = app.check(options)
    if options.read or options.demo:
        return Answer(RUNS, f"camera: {camera}")
    return Answer(RUNS, f"camera: {camera}\nbroker: {_listening(settings)}")


def _listening(settings: ConnectionSettings) -> str:
    """Subscribe once; return what the broker was found to be."""
    heard: list[Notice] = []
    once = replace(settings, reconnect=False, wakeup=False, enable_events=False)
    with EventReceiver(once, on_notice=heard.append) as receiver:
        for _ in receiver.batches(_PAUSE):
            if heard and heard[-1].kind == "listening":
                break
    return heard[-1].text


def _pidfile(options: CamOptions) -> str:
    if not options.pidfile:
        raise UsageError(
            "this needs the pidfile of the evcam in question",
            "give it with --pidfile FILE, EVCAM_PIDFILE or in the settings file",
        )
    return str(Path(options.workdir).expanduser() / Path(options.pidfile).expanduser())
