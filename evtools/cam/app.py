"""evcam: from a source through the state to a camera."""

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from evtools.cam.camera import Camera
from evtools.cam.daemon import Notifier
from evtools.cam.health import Health, adopt
from evtools.cam.http import Address, HTTPServer
from evtools.cam.loader import Loaded, load_camera
from evtools.cam.loop import Loop, Signals, make, make_state
from evtools.cam.options import CamOptions
from evtools.cam.schedule import CameraThread, Counters, rate
from evtools.clock import Clock, SystemClock
from evtools.errors import UsageError
from evtools.transport import ConnectionSettings, EventReceiver, Notice, connect
from evtools.transport.receiver import open_live
from evtools.transport.recording.reader import RecordingReader

#: Of the garbage collector, by generation: events and tasks have no cycles.
_COLLECT_AFTER: Final = (50_000, 20, 100)


def run(
    options: CamOptions,
    settings: ConnectionSettings,
    ready: Callable[[], None] | None = None,
    *,
    notifier: Notifier | None = None,
    on_hangup: Callable[[], None] | None = None,
) -> int:
    """Hand the cluster's state to a camera until asked to end; return the exit status.

    `ready` is called once, when events come or the wait for that is over; `on_hangup` for
    SIGHUP, before the camera opens its files anew.  Raise EvtoolsError for anything that
    the user must fix: a camera that cannot be loaded, a refused login, a camera that failed
    too often.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        loop = Loop(
            options, find(options), clock, notifier=notifier, ready=ready, on_hangup=on_hangup
        )
        source = _open_source(options, settings, loop.on_notice, clock, stack)
        if options.listen:
            # Before the camera is installed, which may be content with that.
            has_broker = not (options.read or options.demo)
            health = Health(
                options.listen,
                counters=loop.counters,
                statistics=source.statistics,
                workers=loop.state.workers,
                settings=settings if has_broker else None,
                camera=loop.camera,
                clock=clock,
            )
            stack.enter_context(health)
        if options.once and isinstance(loop.camera, Camera):
            # That the only snapshot cannot be written should be known at once.
            loop.camera.check()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        with Signals(source.stop, clock) as signals:
            return loop.run(source, signals)


def check(options: CamOptions) -> str:
    """Find the camera and see if it could write; return where its snapshots go.

    Raise UsageError or OutputError if it could not.
    """
    clock = SystemClock()
    loaded = find(options)
    state = make_state(options, clock)
    camera = make(loaded, options, state, CameraThread(Counters(), clock))
    if options.listen:
        HTTPServer(Address.of(options.listen), {}).close()
        adopt(camera)
    if not isinstance(camera, Camera):
        return f"camera {loaded.name}"
    camera.check()
    return camera.describe()


def find(options: CamOptions) -> Loaded:
    if not options.camera:
        raise UsageError("no camera given", "give one with -c, see evcam --help")
    if options.maxrate:
        rate(options.maxrate)
    return load_camera(
        options.camera,
        options=options.camera_options,
        pythonpath=options.pythonpath,
        allow_insecure=options.allow_insecure_camera,
    )


def _open_source(
    options: CamOptions,
    settings: ConnectionSettings,
    on_notice: Callable[[Notice], None],
    clock: Clock,
    stack: ExitStack,
) -> EventReceiver | RecordingReader:
    """Open a broker, a recording or the simulated cluster; `stack` closes it again."""
    if options.read:
        recording = RecordingReader(
            *options.read,
            clock=clock,
            speed=options.speed,
            since=options.since,
            until=options.until,
        )
        recording.on_notice = on_notice
        stack.callback(recording.close)
        return recording
    if not options.demo:
        # Not to connect, but to import everything for that: months later, the files of a
        # single-file binary may be gone.
        connect(settings)
    return open_live(settings, on_notice, demo=options.demo, stack=stack)
