"""Cameras: Celery's API, and one that looks quickly and writes slowly."""

import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from evtools.cam.schedule import Timer, TokenBucket, rate
from evtools.cam.snapshot import SnapshotInfo, SnapshotSequence
from evtools.clock import Clock, SystemClock
from evtools.errors import OutputError
from evtools.state import Change, State
from evtools.text import parse_duration, parse_size
from evtools.trust import check_way

logger = logging.getLogger("evtools.evcam")

#: For the annotations of a camera's options: `30d`, and `10M`.
Seconds: TypeAlias = Annotated[float, parse_duration]
Bytes: TypeAlias = Annotated[int, parse_size]

Receiver: TypeAlias = Callable[..., Any]


class Signal:
    """Call connected functions with `sender` and anything else that is sent.

    As with Celery's, a receiver that nothing else refers to is forgotten, unless `weak=False`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        #: Senders with what returns a receiver, or None if that is no more.
        self._receivers: list[tuple[Any, Callable[[], Receiver | None]]] = []

    def connect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> Any:
        """Have `receiver(signal=, sender=, ...)` called, for one `sender` or any; return it.

        Works as a decorator, with and without arguments.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, **kwargs)
        held: Callable[[], Receiver | None] = lambda: receiver  # noqa: E731
        if weak:
            held = (weakref.WeakMethod if inspect.ismethod(receiver) else weakref.ref)(receiver)
        with self._lock:
            if receiver not in [each() for wanted, each in self._receivers if wanted is sender]:
                self._receivers.append((sender, held))
        return receiver

    def disconnect(self, receiver: Receiver, sender: Any = None) -> bool:
        """Do not call it any more; return whether it was connected."""
        with self._lock:
            before = len(self._receivers)
            self._receivers[:] = [
                (of, held) for of, held in self._receivers if of is not sender or held() != receiver
            ]
            return len(self._receivers) < before

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers; return them with what they returned or raised."""
        with self._lock:
            self._receivers = [pair for pair in self._receivers if pair[1]() is not None]
            wanted = [held for of, held in self._receivers if of is None or of is sender]
        responses = []
        for receiver in filter(None, [held() for held in wanted]):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as error:
                logger.exception("%s: %r raised", self.name, receiver)
                response = error
            responses.append((receiver, response))
        return responses


class Polaroid:
    """Take a snapshot of a `state` every `freq` seconds, as Celery's `Polaroid` does.

    A subclass overrides `on_shutter(state)`, which is called while no event is processed; anything
    that takes long belongs into `Camera.write`.  With `clear_after`, workers and finished tasks are
    forgotten after each snapshot, though not, as with Celery's, after one that failed or was not
    taken.  `maxrate` limits the snapshots, as in `10/m`; `cleanup_freq` is the interval of
    `on_cleanup` in seconds, 0 for never.  `timer` calls both, in its own thread, after `install`.

    Functions connected to `shutter_signal` and `cleanup_signal` are called with the state
    as `sender`.
    """

    shutter_signal: ClassVar = Signal("shutter_signal")
    cleanup_signal: ClassVar = Signal("cleanup_signal")
    timer: Any = None
    clear_after = False

    _tref: Any = None
    _ctref: Any = None
    _own_timer: Timer | None = None

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: str | float | None = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        self.app, self.state, self.logger = app, state, logger
        self.freq, self.cleanup_freq = freq, cleanup_freq
        self.timer = timer or self.timer
        if self.timer is None:
            self.timer = self._own_timer = Timer(name="evtools-camera")
        self.maxrate = TokenBucket(rate(maxrate)) if maxrate else None
        self._set_up_snapshots()

    def _set_up_snapshots(self) -> None:
        # So that Camera has this constructor, and editors show its arguments.
        pass

    def install(self) -> None:
        """Begin to take snapshots."""
        self._tref = self.timer.call_repeatedly(self.freq, self.capture)
        if self.cleanup_freq:
            self._ctref = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def on_shutter(self, state: State) -> None:
        """Do something with the state; nothing, unless overridden."""

    def on_cleanup(self) -> None:
        """Clean up; nothing, unless overridden."""

    def cleanup(self) -> None:
        """Clean up, and send `cleanup_signal`."""
        logger.debug("cleanup")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def shutter(self) -> bool:
        """Take a snapshot, if the rate allows it; return whether it did."""
        if self.maxrate is not None and not self.maxrate.can_consume():
            return False
        logger.debug("shutter: %r", self.state)
        self.shutter_signal.send(sender=self.state)
        self.on_shutter(self.state)
        return True

    def capture(self) -> None:
        """Take a snapshot while no event is processed, if the rate allows it."""

        def shoot() -> None:
            # A subclass's own, as Celery's, returns nothing.
            if self.shutter() is not False and self.clear_after:
                self.state.clear()

        self.state.freeze_while(shoot)

    def cancel(self) -> None:
        """Take a last snapshot, of anything new since the last one, and no more."""
        if self._tref:
            self._tref()
            self._tref.cancel()
        if self._ctref:
            self._ctref.cancel()
        if self._own_timer:
            self._own_timer.stop()

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()


class Camera(Polaroid):
    """A camera whose writing may take long: no event waits for it.

    A snapshot is taken in two steps.  `snapshot(info)` quickly returns plain values of the state
    while no event is processed; `write(snapshot)` then writes those, and may take its time or
    raise.  If it raises, `restore` gets the snapshot back, and the next one covers its period, too.

    A subclass takes options of its own as keyword arguments with annotations, for
    `--camera-option NAME=VALUE`, and hands the rest on to this class.

    Until evtools 0.3, `snapshot` and `write` may also be named `expose` and `develop`.

    Of several clusters each has a camera of its own, which says in `state.cluster` and in the
    snapshot's `info.cluster` which it is.  If the class `writes_for_all`, one of them takes the
    snapshots of all, together, and writes them by `write_all`.
    """

    writes_for_all: ClassVar = False

    def _set_up_snapshots(self) -> None:
        #: Whose snapshots this one takes.
        self._cameras: Sequence[Any] = (self,)
        self.clock: Clock = SystemClock()
        cluster = getattr(self.state, "cluster", "")
        self._sequence = SnapshotSequence(self.state.workers, cluster=cluster)
        # Two snapshots at a time would be written in any order.
        self._shooting = threading.Lock()

    def load(self, sequence: SnapshotSequence, clock: Clock) -> None:
        """Take another sequence and another clock, such as that of a recording."""
        self._sequence, self.clock = sequence, clock

    def lead(self, cameras: Sequence[Self]) -> None:
        """Take the snapshots of these cameras, which are of the same class, and write them."""
        self._cameras = sorted(cameras, key=lambda each: each.state.cluster)

    # --- to be overridden -----------------------------------------------------------

    def watch_broker(self, settings: Any, redact: Any = None) -> None:
        """Begin to ask the broker of its cluster, at these settings, for what no event says.

        Called once before any event comes, and not if a recording is replayed.  `redact` masks
        what is not to be written, as it masks events; None if nothing is.
        """

    def observe(self, changes: Sequence[Change]) -> None:
        """Look at the changes by one event, or several, before the next one is applied.

        Called by the thread that applies them; the state stands still, and no event is processed.
        """

    def persist(self) -> bool:
        """Make what was observed outlive this process, if it can; return whether that was done.

        Called by the thread that applies events after each batch; the state stands still.
        """
        return True

    def snapshot(self, info: SnapshotInfo) -> Any:
        """Return plain values of the state, which stands still, that do not change later."""
        raise NotImplementedError

    def write(self, snapshot: Any) -> None:
        """Write a snapshot; raise if it could not be written completely."""
        raise NotImplementedError

    def write_all(self, snapshots: list[Any]) -> None:
        """Write the snapshots of all clusters, in order of their names, if it `writes_for_all`.

        Take out of the list what was written; the rest is taken back if this raises.
        """
        self._write_each(snapshots)

    def restore(self, snapshot: Any) -> None:
        """Take back a snapshot that could not be written, while the state stands still."""

    def share(self, parts: int) -> None:
        """Use one of so many equal parts of the memory of a camera, if it `writes_for_all`."""

    def sweep(self) -> None:
        """Remove old data, every `cleanup_freq` seconds."""

    def on_cleanup(self) -> None:
        self.sweep()

    def reopen(self) -> None:
        """Open files anew that were moved away."""

    def close(self) -> None:
        """Release everything, after the last snapshot."""

    def check(self) -> None:
        """Raise UsageError or OutputError, in one line, if it could not write.

        Called before the process goes into the background or waits for its only snapshot.
        """

    def describe(self) -> str:
        """Return in a few words where the snapshots go."""
        return type(self).__name__

    def gets_on(self) -> None:
        """Note that it gets on with what may take minutes, or evcam would be taken for stuck."""
        note = getattr(self.timer, "gets_on", None)
        if note is not None:
            note()

    def capture(self) -> None:
        """Take a snapshot, if the rate allows it."""
        with self._shooting:
            if self.maxrate is not None and not self.maxrate.can_consume():
                return
            taken: list[tuple[Any, SnapshotInfo, Any]] = []
            try:
                for each in self._cameras:
                    look = each._look  # noqa: SLF001  (of its own class)
                    taken += [(each, *each.state.freeze_while(look))]
                snapshots = [snapshot for *_, snapshot in taken]
                try:
                    # The camera of one cluster may have another method of that name.
                    (self.write_all if len(self._cameras) > 1 else self._write_each)(snapshots)
                finally:
                    del taken[: len(taken) - len(snapshots)]
            except BaseException:
                for each, info, snapshot in taken:
                    back = each._take_back  # noqa: SLF001
                    each.state.freeze_while(back, info, snapshot)
                raise

    def _write_each(self, snapshots: list[Any]) -> None:
        while snapshots:
            getattr(self, "develop", self.write)(snapshots[0])
            del snapshots[0]

    def _look(self) -> tuple[SnapshotInfo, Any]:
        self.shutter_signal.send(sender=self.state)
        info = self._sequence.next(self.clock.wall())
        try:
            snapshot = snapshot_of(self, info)
        except BaseException:
            self._sequence.restore(info)
            raise
        if self.clear_after:
            self.state.clear()
        return info, snapshot

    def _take_back(self, info: SnapshotInfo, snapshot: Any) -> None:
        self._sequence.restore(info)
        self.restore(snapshot)


def snapshot_of(camera: Camera, info: SnapshotInfo) -> Any:
    """Return a snapshot of a camera, which may be written for an older evtools."""
    return getattr(camera, "expose", camera.snapshot)(info)


def check_place(path: Path, *, replaces: bool = False) -> None:
    """Raise OutputError if a camera could not write its file, or put a new one there."""
    folder, problem = path.parent, ""
    try:
        check_way(folder if replaces else path)
        if path.is_dir():
            problem = "it is a directory"
        elif not folder.is_dir():
            problem = f"there is no directory {folder}"
        elif path.exists() and not replaces:
            problem = "" if os.access(path, os.W_OK, effective_ids=True) else "permission denied"
        elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            problem = f"permission denied in {folder}"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise OutputError(f"cannot write {path}: {problem}")
