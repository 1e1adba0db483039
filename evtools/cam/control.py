"""evcam's commands besides running: status, stop, check."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from evtools.cam import app
from evtools.cam.options import CamOptions, Command
from evtools.cam.pidfile import holder_of
from evtools.cam.privileges import become, identity
from evtools.cam.process import import_early, settle
from evtools.clock import Clock, SystemClock
from evtools.errors import EvtoolsError, UsageError
from evtools.transport import ConnectionSettings, EventReceiver, Notice

#: Exit statuses of LSB for init scripts.
RUNS: Final = 0
NOT_IN_TIME: Final = 1
NOT_RUNNING: Final = 3
UNKNOWN: Final = 4

_PAUSE: Final = 0.05
#: Seconds that ending takes at most besides the last snapshot.
_MARGIN: Final = 5.0


class Answer(NamedTuple):
    """An exit status and a text."""

    status: int
    text: str


def run(command: Command, options: CamOptions, settings: ConnectionSettings) -> Answer:
    """Run a command; raise EvtoolsError if it is not possible."""
    if command == "check":
        return check(options, settings)
    if not options.pidfile:
        raise UsageError(
            "--pidfile is required",
            "give the one of the running evcam with --pidfile FILE, EVCAM_PIDFILE or in the"
            " settings file",
        )
    pidfile = str(Path(options.workdir).expanduser() / Path(options.pidfile).expanduser())
    if command == "status":
        return status(pidfile)
    return stop(pidfile, timeout=options.shutdown_timeout + _MARGIN)


def status(pidfile: str) -> Answer:
    try:
        with holder_of(pidfile) as holder:
            if holder is None:
                return _not_running(pidfile)
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

    It takes a last snapshot before it ends, so `timeout` (seconds) must be longer than its
    --shutdown-timeout.  Raise EvtoolsError if that is not allowed.
    """
    clock = clock or SystemClock()
    try:
        with holder_of(pidfile) as holder:
            if holder is None:
                return _not_running(pidfile)
            holder.end()
            deadline = clock.monotonic() + timeout
            evcam = f"evcam, process {holder.number},"
            while holder.lives():
                if clock.monotonic() >= deadline:
                    return Answer(NOT_IN_TIME, f"{evcam} has not ended within {timeout:g}s")
                pause(_PAUSE)
            return Answer(RUNS, f"{evcam} has ended")
    except ProcessLookupError:
        return Answer(RUNS, "evcam has ended")
    except OSError as error:
        raise EvtoolsError(f"cannot stop evcam: {error.strerror}: {pidfile}") from None


def _not_running(pidfile: str) -> Answer:
    return Answer(NOT_RUNNING, f"evcam is not running: {pidfile} is not locked")


def check(options: CamOptions, settings: ConnectionSettings) -> Answer:
    """Try camera and broker, as the user that evcam would run as; take no snapshot.

    Raise EvtoolsError if one of them would not work.
    """
    owner = identity(options.uid, options.gid)
    settle(options, owner)
    if owner is not None:
        import_early(options, settings)
        become(owner, os.environ)
    camera = app.check(options)
    if options.read or options.demo:
        return Answer(RUNS, f"camera: {camera}")
    return Answer(RUNS, f"camera: {camera}\nbroker: {_subscribe_once(settings)}")


def _subscribe_once(settings: ConnectionSettings) -> str:
    """Return the place that events come from; raise EvtoolsError if there is none."""
    notices: list[Notice] = []
    once = replace(settings, reconnect=False, wakeup=False, enable_events=False)
    with EventReceiver(once, on_notice=notices.append) as receiver:
        for _ in receiver.batches(_PAUSE):
            if notices and notices[-1].kind == "listening":
                break
    return notices[-1].text
