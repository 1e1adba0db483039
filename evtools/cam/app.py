"""evcam as a process: its folder, log, pidfile and user, the loop; and a check of these."""

import contextlib
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from evtools.cam.alerts import NoCamera
from evtools.cam.camera import Camera
from evtools.cam.daemon import Detached, Notifier, Pidfile, start
from evtools.cam.health import Health, adopt
from evtools.cam.http import Address, HTTPServer
from evtools.cam.loader import Loaded, load_camera
from evtools.cam.log import Log, default_log_file, named
from evtools.cam.loop import EndedEarly, Loop, Signals
from evtools.cam.options import BUILT_IN, CamOptions
from evtools.cam.privileges import Identity, acting_as, become, identity, share
from evtools.clock import SystemClock
from evtools.errors import EvtoolsError, UsageError
from evtools.transport import ConnectionSettings, EventReceiver, Notice, Source, connect
from evtools.transport.receiver import open_live
from evtools.transport.recording.database import open_replay
from evtools.trust import enter_folder
from evtools.wire import is_cluster_name

_log = logging.getLogger(__name__)

#: Returns the settings of the settings file that are in force and have changed.
Reread = Callable[[], Mapping[str, Any]]

#: Of the garbage collector, by generation: events and tasks have no cycles.
COLLECT_AFTER: Final = (50_000, 20, 100)
# fmt: off
#: Modules that Python, the drivers of brokers and evtools import on first use, and cameras do.
_LATE: Final = (
    "encodings.idna", "linecache", "multiprocessing.util", "pickletools", "secrets", "ssl",
    "traceback", "yaml",
)
_LATE_OF_CAMERA: Final = {"postgres": ("psycopg",)}
# fmt: on
_UNEXPECTED: Final = 1


def run(
    options: CamOptions, clusters: Sequence[ConnectionSettings], *, reread: Reread | None = None
) -> int:
    """Run evcam, here or with `detach` in a process of its own; return the exit status.

    Raise EvtoolsError for anything that the user must fix: a camera that cannot be loaded, a
    refused login, a camera that failed too often.
    """
    detached = Detached.inherited()
    if options.detach and detached is None:
        identity(options.uid, options.gid)
        # Only one process can read from a pipe.
        typed = "".join(f"{each.urls}\n" for each in clusters if "stdin" in each.source_of_url)
        return start(options.executable, typed=typed)
    with contextlib.suppress(EndedEarly), ExitStack() as stack:
        return Process(options, clusters, detached, reread, stack).run()
    return 0


class Process:
    """This process: it opens its files, then drops its privileges; `stack` closes them all."""

    def __init__(
        self,
        options: CamOptions,
        clusters: Sequence[ConnectionSettings],
        detached: Detached | None,
        reread: Reread | None,
        stack: ExitStack,
    ) -> None:
        self._options, self._clusters = options, clusters
        self._detached, self._reread = detached, reread
        owner = identity(options.uid, options.gid)
        folder = settle(options, owner)
        if detached is not None:
            detached.settle()
        logfile = options.logfile or (default_log_file() if detached else "")
        path = str(folder / Path(logfile).expanduser()) if logfile else ""
        self._log = Log(path, options.log_format, owner)
        stack.callback(self._log.close)
        root = logging.getLogger()
        #: The handlers of the command line, which write for people on stderr until evcam is ready.
        self._plain = root.handlers[:] if self._log.path or self._log.form == "text" else []
        for handler in self._plain:
            handler.setLevel(logging.WARNING)
        root.handlers[:] = [self._log, *(self._plain if detached else ())]
        root.setLevel(options.loglevel)
        # Whoever reads the pidfile may send a signal at once.
        self._signals = stack.enter_context(Signals(SystemClock()))
        if options.pidfile:
            # One that comes meanwhile waits until it is sure that the pidfile is removed.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals.handlers)
            try:
                stack.enter_context(Pidfile(folder / Path(options.pidfile).expanduser(), owner))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        drop_privileges(owner, options, clusters)
        self._notifier = Notifier()
        stack.callback(self._notifier.close)

    def run(self) -> int:
        """Run the loop; return the exit status, or raise where the error is printed."""
        try:
            with ExitStack() as stack:
                return self._run(stack)
        except Exception as error:
            text, status = "unexpected error", _UNEXPECTED
            if isinstance(error, EvtoolsError):
                hint = f" ({'; '.join(error.hint.splitlines())})" if error.hint else ""
                text, status = f"{error.message}{hint}", error.exit_code
            # Unless the same text will follow on the same stream.
            if self._log.path or not self._plain:
                logging.getLogger().handlers[:] = [self._log]
                _log.critical(text, exc_info=not isinstance(error, EvtoolsError))
            if self._plain:
                raise
            return status

    def _run(self, stack: ExitStack) -> int:
        options, clusters, clock = self._options, self._clusters, SystemClock()
        names = names_of(options, clusters)
        loop = Loop(
            options, find(options), clock, self._notifier, self._ready, self._hang_up, names
        )
        source: Source
        if options.read:
            since, until = options.since, options.until
            source = open_replay(
                options.read, clock=clock, speed=options.speed, since=since, until=until
            )
            source.on_notice = loop.on_notice
            stack.callback(source.close)
        else:
            if not options.demo:
                # Not to connect, but to import everything for that: months later, the files
                # of a single-file binary may be gone.
                for settings in clusters:
                    connect(settings)
            kept = clusters if options.demo or options.test else loop.keep(clusters)
            source = open_live(kept, loop.on_notice, demo=options.demo, stack=stack)
            if not options.demo:
                loop.watch_brokers(clusters)
        self._signals.source = source
        if options.listen:
            # Before the camera is installed, which may be content with that.
            brokers = () if options.read or options.demo else clusters
            stack.enter_context(Health(options.listen, loop, source, brokers))
        for camera in loop.cameras if options.once else ():
            if isinstance(camera, Camera):
                # That the only snapshot cannot be written should be known at once.
                camera.check()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        return loop.run(source, self._signals)

    def _ready(self) -> None:
        # Let the process that has started this one end, if there is one.
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
        self._detached.ready(self._log.take_streams)

    def _hang_up(self) -> None:
        # Open the log anew, read files of settings again, and log that.
        if self._log.reopen():
            _log.info("SIGHUP: the log goes on here")
        else:
            _log.warning(
                "SIGHUP: cannot create %s: the log goes on in the old file until there is a new one"
                " that evcam may write",
                self._log.path,
            )
        renewals = [each.renewal for each in self._clusters if each.renewal is not None]
        for renewal in renewals:
            # In the reader's thread, as a command that prints it may take a while.
            renewal.due = True
        if renewals:
            _log.info("SIGHUP: the broker's URL is read again for the next connection")
        try:
            changed = dict(self._reread()) if self._reread else {}
        except EvtoolsError as error:
            _log.error("the settings stay as they were: %s", error.message)
            return
        if renewals and _names(changed.get("broker")) == {each.cluster for each in self._clusters}:
            changed.pop("broker", None)
        level = changed.pop("loglevel", None)
        if level is not None:
            logging.getLogger().setLevel(level)
            _log.info("loglevel is %s from now on", logging.getLevelName(level))
        if changed:
            names = ", ".join(sorted(changed))
            _log.warning("these changes take effect after a restart: %s", names)


def _names(brokers: Any) -> set[str]:
    # Of the clusters whose brokers are in a settings file.
    texts = map(str, brokers if isinstance(brokers, list) else [brokers])
    heads = [text.partition("=")[0].strip() for text in texts]
    return {head if is_cluster_name(head) else "" for head in heads}


def settle(options: CamOptions, owner: Identity | None) -> Path:
    """Set the working directory and the umask that the options ask for.

    Return the directory under its given name, as links on the way to it matter when files are
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
    return whole


def names_of(options: CamOptions, clusters: Sequence[ConnectionSettings]) -> Sequence[str]:
    """Return the names of the clusters that are watched, as far as they are known before."""
    return ("",) if options.read or options.demo else [each.cluster for each in clusters]


def drop_privileges(
    owner: Identity | None, options: CamOptions, clusters: Sequence[ConnectionSettings]
) -> None:
    """Become `owner`, if there is one, after importing all modules that come late otherwise.

    The new user may not be able to read them: Python may live in a home directory, and a
    single-file binary unpacks itself for its user alone.  A user's camera is not imported here: it
    is not for root to run.
    """
    if owner is None:
        return
    camera = options.camera.partition(":")[0]
    names = [*_LATE, *_LATE_OF_CAMERA.get(camera, ())]
    if camera in BUILT_IN:
        names.append(BUILT_IN[camera].where.partition(":")[0])
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if not options.demo and not options.read:
        for settings in clusters:
            connect(settings)
    unpacked = getattr(sys, "_MEIPASS", None)
    if unpacked is not None:
        share(Path(unpacked))
    become(owner)


def find(options: CamOptions) -> Loaded:
    """Find the camera; raise UsageError if there is none."""
    if not options.camera:
        return Loaded("", NoCamera)
    return load_camera(
        options.camera,
        options=options.camera_options,
        pythonpath=options.pythonpath,
        allow_insecure=options.allow_insecure_camera,
    )


def check(options: CamOptions, clusters: Sequence[ConnectionSettings]) -> str:
    """Try camera and brokers, as the user that evcam would run as; take no snapshot.

    Return where snapshots go and events come from.  Raise EvtoolsError if one would not work; of
    several brokers all are tried, and it says which do not.
    """
    owner = identity(options.uid, options.gid)
    settle(options, owner)
    drop_privileges(owner, options, clusters)
    loaded = find(options)
    if options.listen:
        HTTPServer(Address.of(options.listen), {}).close()
    text = f"camera: camera {loaded.name}"
    loop = Loop(options, loaded, SystemClock(), names=names_of(options, clusters))
    for camera in loop.cameras:
        if options.listen:
            adopt(camera)
        if isinstance(camera, Camera):
            camera.check()
            text = f"camera: {camera.describe()}"
    lines, errors = [text, *loop.alerts.check()], list[EvtoolsError]()
    if options.read or options.demo:
        return "\n".join(lines)
    for settings in clusters:
        loop.alerts.refuse_unknown(settings)
    for settings in clusters:
        try:
            lines.append(f"broker: {named(_try(settings), settings.cluster)}")
        except EvtoolsError as error:
            if len(clusters) == 1:
                raise
            errors.append(type(error)(named(error.message, settings.cluster), error.hint))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        raise type(errors[0])("; ".join(error.message for error in errors), "\n".join(hints))
    return "\n".join(lines)


def _try(settings: ConnectionSettings) -> str:
    notices: list[Notice] = []
    once = replace(settings, reconnect=False, wakeup=False, enable_events=False)
    with EventReceiver(once, on_notice=notices.append) as receiver:
        for _ in receiver.events(0.05):
            if notices and notices[-1].kind == "listening":
                break
    return notices[-1].text
