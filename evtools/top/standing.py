"""How things stand: what the first line of the screen says beside the figures."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from evtools.text import human_age, sanitize
from evtools.top.columns import Lens
from evtools.top.own_cost import OwnCost
from evtools.top.session import Session
from evtools.top.widgets.header import Surroundings
from evtools.transport.recording.reader import RecordingReader

#: Connected, but without an event for so long, in seconds: workers send a
#: heartbeat every few seconds.
_STALE_AFTER: Final = 30.0
_REASON_CHARS: Final = 200
#: A zone that does not say which one it is.
_LOCAL: Final = "local"


def surroundings(session: Session, where: str, own: OwnCost) -> Surroundings:
    """Return what the header tells; `where` is the broker, fit to be shown."""
    return Surroundings(
        status=_status(session),
        where=where,
        badges=tuple(_badges(session)),
        refresh=session.model.options.refresh,
        clock=_clock(session),
        own_cpu=own.cpu,
        own_bytes=own.bytes,
        banner=_banner(session),
    )


def is_stale(session: Session) -> bool:
    """Return whether the rows are not how things are."""
    return session.link.lost_at is not None and not session.model.replayed


def _status(session: Session) -> str:
    tape = session.feed.source
    if isinstance(tape, RecordingReader):
        return _status_of_tape(session, tape)
    if session.model.paused:
        return "PAUSED"
    status = session.link.status
    latest = session.model.intake.latest
    now = session.clock.wall()
    if status == "live" and latest is not None and now - latest > _STALE_AFTER:
        return "STALE"
    return status.upper()


def _status_of_tape(session: Session, tape: RecordingReader) -> str:
    if session.model.paused or tape.paused:
        return "REPLAY PAUSED"
    if tape.ended:
        return "REPLAY ENDED"
    speed = tape.speed
    return "REPLAY" if speed == 1 or math.isinf(speed) else f"REPLAY {speed:g}x"


def _badges(session: Session) -> Iterator[str]:
    """Yield the modes that must not be forgotten."""
    recording = session.feed.recording
    if recording is not None:
        yield f"REC {recording.events}" if not recording.error else "REC FAILED"
    if session.mouse:
        yield "MOUSE"
    yield "RO" if session.desk is None else "RW"


def _clock(session: Session) -> str:
    """Return the time, and its zone: of a replay, that on the tape."""
    lens = session.model.lens()
    now = lens.now if session.model.replayed else session.clock.wall()
    shown = Lens(now, lens.zone)
    try:
        moment = datetime.fromtimestamp(now, lens.zone)
        zone = moment.tzname() or ""
        if zone == _LOCAL:
            zone = moment.astimezone().tzname() or ""
    except (OverflowError, ValueError, OSError):
        zone = ""
    return f"{shown.time_of_day(now)} {zone}".rstrip()


def _banner(session: Session) -> tuple[str, str] | None:
    """Return what is wrong with the connection, and how old the data are."""
    link = session.link
    if link.lost_at is None or session.model.replayed:
        return None
    reason = sanitize(link.reason[:_REASON_CHARS])
    if link.status == "ended":
        left = f"ENDED  {reason}" if reason else "ENDED"
    else:
        tries = f"  attempt {link.attempts}" if link.attempts else ""
        left = f"RECONNECTING{tries}: {reason} (Q quits)"
    age = human_age(max(0.0, session.clock.wall() - link.lost_at))
    moment = session.model.lens().time_of_day(link.lost_at)
    return left, f"data as of {moment}, {age} old"
