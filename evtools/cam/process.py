"""evcam as a process: its folder, log, pidfile and user, and then the loop."""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from evtools.cam import app
from evtools.cam.cameras import BUILT_IN
from evtools.cam.detach import Detached, own_program, start
from evtools.cam.logfile import Log, open_log, usual_file
from evtools.cam.logformats import TextFormatter
from evtools.cam.notify import Notifier
from evtools.cam.options import CamOptions
from evtools.cam.pidfile import Pidfile
from evtools.cam.privileges import Identity, acting_as, become, identity, share
from evtools.errors import EvtoolsError, UsageError
from evtools.transport import ConnectionSettings, connect
from evtools.trust import enter_folder, make_folders

_log = logging.getLogger(__name__)

#: Returns the settings that the settings file has by now, as far as they are
#: in force and others than before.
Reread = Callable[[], Mapping[str, Any]]

_STDERR: Final = 2
#: What Python, the drivers of brokers and we import when it is first needed.
_LATE: Final = (
    *("encodings.idna", "linecache", "multiprocessing.util", "pickletools"),
    *("secrets", "ssl", "traceback", "yaml"),
)
#: The same of a camera.
_LATE_OF_CAMERA: Final = {"postgres": ("psycopg",)}
_UNEXPECTED: Final = 1


def run(options: CamOptions, settings: ConnectionSettings, *, reread: Reread | None = None) -> int:
    """Run evcam, here or in a process of its own; return the exit status.

    With `detach`, return once that other process is ready or has failed.
    Raise EvtoolsError for what the user must mend.
    """
    detached = Detached.inherited(os.environ)
    if options.detach and detached is None:
        identity(options.uid, options.gid)
        # Only one process can read what comes through a pipe.
        typed = f"{settings.urls}\n" if "stdin" in settings.source_of_url else ""
        return start(own_program(options.executable), os.environ, typed=typed)
    with ExitStack() as stack:
        process = Process(options, detached, reread)
        process.prepare(settings, stack)
        return process.run(settings)


def settle(options: CamOptions, owner: Identity | None, detached: Detached | None = None) -> Path:
    """Take the folder and the umask that the options ask for.

    Return the folder by the name it was given: links on the way to it must be
    seen by who opens files there.  Raise UsageError for a folder that is none.
    """
    workdir = Path(options.workdir or ".").expanduser()
    whole = workdir.absolute()
    try:
        try:
            with acting_as(owner):
                enter_folder(workdir)
        except PermissionError:
            enter_folder(workdir)
    except OSError as error:
        raise UsageError(f"--workdir: {workdir}: {error.strerror}") from None
    if options.umask is not None:
        os.umask(options.umask)
    if detached is not None:
        detached.settle()
    return whole


def import_early(options: CamOptions, settings: ConnectionSettings) -> None:
    """Import what is imported late otherwise.

    The user that we become may not be able to read it: Python may live in a
    home directory, and a single-file binary unpacks itself for its user alone.
    A camera that is not ours is not imported here: it is not for root to run.
    """
    camera = options.camera.partition(":")[0]
    names = [*_LATE, *_LATE_OF_CAMERA.get(camera, ())]
    if camera in BUILT_IN:
        names.append(BUILT_IN[camera].where.partition(":")[0])
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if not options.demo and not options.read:
        connect(settings)
    unpacked = getattr(sys, "_MEIPASS", None)
    if unpacked is not None:
        share(Path(unpacked))


class Process:
    """This process, as long as evcam runs in it."""

    def __init__(
        self, options: CamOptions, detached: Detached | None, reread: Reread | None
    ) -> None:
        self._options = options
        self._detached = detached
        self._reread = reread
        self._settings: ConnectionSettings | None = None
        self._notifier = Notifier()
        self._log = Log(_STDERR)
        #: The handlers of the command line, which write for people on stderr.
        self._plain: list[logging.Handler] = []

    def prepare(self, settings: ConnectionSettings, stack: ExitStack) -> None:
        """Open the files, then give up the privileges that opened them.

        `stack` closes and removes what is left in the end.
        """
        self._settings = settings
        owner = identity(self._options.uid, self._options.gid)
        folder = settle(self._options, owner, self._detached)
        logfile = self._options.logfile or self._usual_file()
        self._log = open_log(
            str(folder / Path(logfile).expanduser()) if logfile else "",
            self._options.log_format,
            owner=owner,
            environ=os.environ,
        )
        stack.callback(self._log.close)
        self._install()
        if self._options.pidfile:
            pidfile = folder / Path(self._options.pidfile).expanduser()
            stack.enter_context(Pidfile(pidfile, owner))
        if owner is not None:
            import_early(self._options, settings)
            become(owner, os.environ)
        self._notifier = Notifier.from_environment(os.environ)
        stack.callback(self._notifier.close)

    def run(self, settings: ConnectionSettings) -> int:
        """Run the loop; return the exit status, or raise where that is read."""
        try:
            return app.run(
                self._options, settings, self.ready, notifier=self._notifier, on_hangup=self.hang_up
            )
        except EvtoolsError as error:
            hint = f" ({'; '.join(error.hint.splitlines())})" if error.hint else ""
            self._tell(f"{error.message}{hint}")
            if self._plain:
                raise
            return error.exit_code
        except Exception:
            self._tell("unexpected error", exc_info=True)
            if self._plain:
                raise
            return _UNEXPECTED

    def ready(self) -> None:
        """Let the process that has started us end, if there is one."""
        if self._detached is None:
            return
        if not self._options.quiet:
            where = f"; its log: {self._log.path}" if self._log.path else ""
            _say(f"evcam: runs as process {os.getpid()}{where}")
        for handler in self._plain:
            logging.getLogger().removeHandler(handler)
        self._plain = []
        self._detached.ready()
        self._log.take_streams()

    def hang_up(self) -> None:
        """Open the log anew, read files of settings again, and say so.

        The broker's URL is read before the next connection, which is the reader
        thread's business: whoever knows it may take a while.
        """
        if self._log.reopen():
            _log.info("SIGHUP: the log goes on here")
        else:
            _log.warning(
                "SIGHUP: cannot make %s: the log goes on in the old file, until "
                "somebody makes one that we may write",
                self._log.path,
            )
        renewal = self._settings.renewal if self._settings else None
        if renewal is not None:
            renewal.due = True
            _log.info("SIGHUP: the broker's URL is read again for the next connection")
        if self._reread is None:
            return
        try:
            changed = dict(self._reread())
        except EvtoolsError as error:
            _log.error("the settings stay as they were: %s", error.message)
            return
        if renewal is not None:
            changed.pop("broker", None)
        level = changed.pop("loglevel", None)
        if level is not None:
            logging.getLogger().setLevel(level)
            _log.info("loglevel is %s from now on", logging.getLevelName(level))
        if changed:
            names = ", ".join(sorted(changed))
            _log.warning("only a restart will heed what changed: %s", names)

    def _install(self) -> None:
        """Let log records go into the log, and until we are ready to the user, too."""
        root = logging.getLogger()
        is_readable = self._log.path or isinstance(self._log.formatter, TextFormatter)
        self._plain = root.handlers[:] if is_readable else []
        for handler in self._plain:
            handler.setLevel(logging.WARNING)
        root.handlers[:] = [self._log, *(self._plain if self._detached else ())]
        root.setLevel(self._options.loglevel)

    def _usual_file(self) -> str:
        """Return where a detached process logs that was not told."""
        path = usual_file(os.environ) if self._detached else ""
        if path:
            with contextlib.suppress(OSError):
                make_folders(Path(path).parent)
        return path

    def _tell(self, text: str, *, exc_info: bool = False) -> None:
        """Log why we end, unless the same text will follow on the same stream."""
        if self._log.path or not self._plain:
            logging.getLogger().handlers[:] = [self._log]
            _log.critical(text, exc_info=exc_info)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (the user waits for it)
