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
from evtools.cam.daemon import Detached, Notifier, own_program, start
from evtools.cam.log import TextFormatter, default_log_file, open_log
from evtools.cam.options import BUILT_IN, CamOptions
from evtools.cam.pidfile import Pidfile
from evtools.cam.privileges import Identity, acting_as, become, identity, share
from evtools.errors import EvtoolsError, UsageError
from evtools.transport import ConnectionSettings, connect
from evtools.trust import enter_folder, make_folders

_log = logging.getLogger(__name__)

#: Returns the settings of the settings file that are in force and have changed.
Reread = Callable[[], Mapping[str, Any]]

#: Modules that Python, the drivers of brokers and evtools import on first use.
_LATE: Final = (
    "encodings.idna",
    "linecache",
    "multiprocessing.util",
    "pickletools",
    "secrets",
    "ssl",
    "traceback",
    "yaml",
)
#: The same of a camera.
_LATE_OF_CAMERA: Final = {"postgres": ("psycopg",)}
_UNEXPECTED: Final = 1


def run(options: CamOptions, settings: ConnectionSettings, *, reread: Reread | None = None) -> int:
    """Run evcam, here or in a process of its own; return the exit status.

    With `detach`, return once that other process is ready or has failed.  Raise
    EvtoolsError for anything that the user must fix.
    """
    detached = Detached.inherited(os.environ)
    if options.detach and detached is None:
        identity(options.uid, options.gid)
        # Only one process can read from a pipe.
        typed = f"{settings.urls}\n" if "stdin" in settings.source_of_url else ""
        return start(own_program(options.executable), os.environ, typed=typed)
    with ExitStack() as stack:
        return Process(options, settings, detached, reread, stack).run()


def settle(options: CamOptions, owner: Identity | None, detached: Detached | None = None) -> Path:
    """Set the working directory and the umask that the options ask for.

    Return the directory under its given name: links on the way to it matter when files are
    opened there.  Raise UsageError if it is not a directory.
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
    """Import the modules that are imported late otherwise.

    The new user may not be able to read them: Python may live in a home directory, and a
    single-file binary unpacks itself for its user alone.  A camera that is not ours is not
    imported here: it is not for root to run.
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
    """This process, as long as evcam runs in it.

    Its files are opened first, then the privileges for that are dropped; `stack` closes and
    removes what is left in the end.
    """

    def __init__(
        self,
        options: CamOptions,
        settings: ConnectionSettings,
        detached: Detached | None,
        reread: Reread | None,
        stack: ExitStack,
    ) -> None:
        self._options = options
        self._settings = settings
        self._detached = detached
        self._reread = reread
        owner = identity(options.uid, options.gid)
        folder = settle(options, owner, detached)
        logfile = options.logfile or self._default_log_file()
        path = str(folder / Path(logfile).expanduser()) if logfile else ""
        self._log = open_log(path, options.log_format, owner=owner, environ=os.environ)
        stack.callback(self._log.close)
        #: The handlers of the command line, which write for people on stderr.
        self._plain = self._install()
        if options.pidfile:
            stack.enter_context(Pidfile(folder / Path(options.pidfile).expanduser(), owner))
        if owner is not None:
            import_early(options, settings)
            become(owner, os.environ)
        self._notifier = Notifier.from_environment(os.environ)
        stack.callback(self._notifier.close)

    def run(self) -> int:
        """Run the loop; return the exit status, or raise where the error is printed."""
        try:
            return app.run(
                self._options,
                self._settings,
                self._ready,
                notifier=self._notifier,
                on_hangup=self._hang_up,
            )
        except EvtoolsError as error:
            hint = f" ({'; '.join(error.hint.splitlines())})" if error.hint else ""
            self._log_end(f"{error.message}{hint}")
            if self._plain:
                raise
            return error.exit_code
        except Exception:
            self._log_end("unexpected error", exc_info=True)
            if self._plain:
                raise
            return _UNEXPECTED

    def _ready(self) -> None:
        """Let the process that has started this one end, if there is one."""
        if self._detached is None:
            return
        if not self._options.quiet:
            where = f"; its log: {self._log.path}" if self._log.path else ""
            with contextlib.suppress(OSError):
                text = f"evcam: runs as process {os.getpid()}{where}"
                print(text, file=sys.stderr, flush=True)  # noqa: T201  (the user waits for it)
        for handler in self._plain:
            logging.getLogger().removeHandler(handler)
        self._plain = []
        self._detached.ready()
        self._log.take_streams()

    def _hang_up(self) -> None:
        """Open the log anew, read files of settings again, and log that.

        The broker's URL is read before the next connection, in the reader's thread: a
        command that prints it may take a while.
        """
        if self._log.reopen():
            _log.info("SIGHUP: the log goes on here")
        else:
            _log.warning(
                "SIGHUP: cannot create %s: the log goes on in the old file until there is a"
                " new one that evcam may write",
                self._log.path,
            )
        renewal = self._settings.renewal
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
            _log.warning("these changes take effect after a restart: %s", names)

    def _install(self) -> list[logging.Handler]:
        """Send records to the log, and until evcam is ready to the user, too."""
        root = logging.getLogger()
        is_readable = self._log.path or isinstance(self._log.formatter, TextFormatter)
        plain = root.handlers[:] if is_readable else []
        for handler in plain:
            handler.setLevel(logging.WARNING)
        root.handlers[:] = [self._log, *(plain if self._detached else ())]
        root.setLevel(self._options.loglevel)
        return plain

    def _default_log_file(self) -> str:
        """Return the log file of a detached process, and make its folder."""
        path = default_log_file(os.environ) if self._detached else ""
        if path:
            with contextlib.suppress(OSError):
                make_folders(Path(path).parent)
        return path

    def _log_end(self, text: str, *, exc_info: bool = False) -> None:
        """Log why evcam ends, unless the same text will follow on the same stream."""
        if self._log.path or not self._plain:
            logging.getLogger().handlers[:] = [self._log]
            _log.critical(text, exc_info=exc_info)
