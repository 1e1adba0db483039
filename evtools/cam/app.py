"""evcam: from a source through the state to a camera."""

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from evtools.cam.camera import Camera
from evtools.cam.counters import Counters
from evtools.cam.health import Health, adopt
from evtools.cam.http import Address, HTTPServer
from evtools.cam.link import Link
from evtools.cam.loader import Loaded, load_camera
from evtools.cam.loop import Loop, Rig, nothing
from evtools.cam.notify import Notifier
from evtools.cam.options import CamOptions
from evtools.cam.rate import rate
from evtools.cam.roll import Roll
from evtools.cam.shutter import Shutter
from evtools.cam.sieve import Sieve
from evtools.cam.signals import Signals
from evtools.cam.source import open_source
from evtools.cam.tapetime import TapeTime
from evtools.clock import Clock, SystemClock
from evtools.errors import UsageError
from evtools.state import State
from evtools.transport import ConnectionSettings

#: Of the garbage collector, by generation: events and tasks have no cycles.
_COLLECT_AFTER: Final = (50_000, 20, 100)


def run(
    options: CamOptions,
    settings: ConnectionSettings,
    ready: Callable[[], None] = nothing,
    *,
    notifier: Notifier | None = None,
    on_hangup: Callable[[], None] = nothing,
) -> int:
    """Hand the cluster's state to a camera until asked to end; return the status.

    `ready` is called once, when events come or the wait for that is over;
    `on_hangup` for SIGHUP, before the camera opens its files anew.  Raise
    EvtoolsError for what the user must mend: a camera that cannot be loaded,
    a refused login, a camera that failed too often.
    """
    with ExitStack() as stack:
        rig = _rig(options, settings, stack)
        rig.ready, rig.on_hangup = ready, on_hangup
        rig.notifier = notifier or rig.notifier
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)
        with Signals(rig.source.stop, rig.clock) as signals:
            return Loop(rig, signals).run()


def _rig(options: CamOptions, settings: ConnectionSettings, stack: ExitStack) -> Rig:
    """Return all that is needed; `stack` closes it again."""
    clock = SystemClock()
    times: Clock = TapeTime() if options.read else clock
    loaded = find(options)
    counters = Counters(started=clock.wall())
    state = _state(options, times)
    shutter = Shutter(
        counters, clock, times=times if options.read else None, max_failures=options.max_failures
    )
    roll = Roll(state.workers, started=counters.started, warm_up=options.warm_up)
    link = Link(counters, roll, clock)
    camera = make(loaded, options, state, shutter)
    if isinstance(camera, Camera):
        camera.load(roll, times)
    rig = Rig(
        options=options,
        clock=clock,
        times=times,
        counters=counters,
        sieve=Sieve(options.filters, options.redact, zone=options.zone, now=times.wall),
        state=state,
        roll=roll,
        link=link,
        shutter=shutter,
        camera=camera,
        source=open_source(options, settings, link.hear, clock=clock, stack=stack),
    )
    if options.listen:
        # Before the camera is installed, which may be content with that.
        stack.enter_context(_health(rig, settings))
    if options.once and isinstance(camera, Camera):
        # Nobody should have to wait for the only shot to hear that it cannot be.
        camera.check()
    return rig


def _health(rig: Rig, settings: ConnectionSettings) -> Health:
    """Return what tells others how evcam is."""
    has_broker = not (rig.options.read or rig.options.demo)
    return Health(
        rig.options.listen,
        counters=rig.counters,
        statistics=rig.source.statistics,
        workers=rig.state.workers,
        settings=settings if has_broker else None,
        camera=rig.camera,
        clock=rig.clock,
    )


def find(options: CamOptions) -> Loaded:
    """Find the camera that the options name; raise UsageError if there is none."""
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


def make(loaded: Loaded, options: CamOptions, state: State, shutter: Shutter) -> Any:
    """Make the camera; raise UsageError if that fails."""
    return loaded(
        state,
        freq=options.freq,
        maxrate=options.maxrate or None,
        cleanup_freq=options.cleanup_freq,
        timer=shutter.timer,
        app=None,
    )


def check(options: CamOptions) -> str:
    """Find the camera and see if it could write; return where its pictures go.

    Raise UsageError or OutputError if it could not.
    """
    clock = SystemClock()
    loaded = find(options)
    state = _state(options, clock)
    camera = make(loaded, options, state, Shutter(Counters(), clock))
    if options.listen:
        HTTPServer(Address.of(options.listen), {}).close()
        adopt(camera)
    if not isinstance(camera, Camera):
        return f"camera {loaded.name}"
    camera.check()
    return camera.describe()


def _state(options: CamOptions, times: Clock) -> State:
    return State(max_tasks_in_memory=options.max_tasks, max_bytes=options.max_memory, clock=times)
