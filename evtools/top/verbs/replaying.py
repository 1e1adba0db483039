"""Commands of time: pause, step, seek, speed."""

import math
from datetime import datetime, time
from typing import Final

from evtools.errors import UsageError
from evtools.text import parse_duration
from evtools.top.session import Session
from evtools.top.verbs.verb import Verb, plain
from evtools.transport.recording.reader import RecordingReader

_SPEED_MAX: Final = 1000.0
_MOMENTS: Final = "write 14:30, 14:30:05, 2026-11-20T14:30, +10s or -5m"


def _tape(session: Session) -> RecordingReader | None:
    source = session.feed.source
    return source if isinstance(source, RecordingReader) else None


def _replayed(session: Session) -> RecordingReader:
    tape = _tape(session)
    if tape is None:
        raise UsageError("that is for a replay", "evtop -r FILE replays a recording")
    return tape


def _pause(session: Session) -> None:
    """Let the picture stand still; of a replay, the tape."""
    tape, model = _tape(session), session.model
    if tape is not None:
        (tape.resume if tape.paused else tape.pause)()
        session.say("replay paused" if tape.paused else "replay goes on")
    elif model.paused:
        model.thaw()
        session.show(session.view)
        session.say("live again")
    else:
        model.freeze(session.clock.wall())
        session.say("paused; events are still taken in")


def _step(session: Session, step: int) -> None:
    tape = _tape(session)
    if tape is not None:
        tape.pause()
        position = tape.position
        if position is not None:
            tape.seek(position + step * session.model.options.refresh)
        return
    if not session.model.paused:
        raise UsageError("stepping is for a paused picture", "p pauses it")
    picture = session.model.step(step, session.clock.wall())
    if picture is None:
        session.say("no earlier picture was kept that looks different")
        return
    session.turn_to(picture.view)
    moment = session.model.lens().time_of_day(picture.as_of)
    session.say(f"as it was at {moment}")


def _seek(session: Session, text: str) -> None:
    tape = _replayed(session)
    if not text:
        session.ask_for("seek> ", "seek", hint=_MOMENTS)
        return
    position = tape.position
    if position is None:
        raise UsageError("nothing has been played yet")
    tape.seek(_moment(session, text, position))


def _moment(session: Session, text: str, position: float) -> float:
    """Return the moment that a text means, in UTC epoch seconds.

    A time of day is one of the day that is being played.
    """
    zone = session.model.lens().zone
    try:
        if text[0] in "+-":
            seconds = parse_duration(text[1:])
            return position + (seconds if text[0] == "+" else -seconds)
        if "-" in text:
            moment = datetime.fromisoformat(text)
        else:
            day = datetime.fromtimestamp(position, zone).date()
            moment = datetime.combine(day, time.fromisoformat(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text} is no time", _MOMENTS) from None


def _speed(session: Session, text: str) -> None:
    tape = _replayed(session)
    try:
        speed = math.inf if text == "max" else float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not (0 < speed <= _SPEED_MAX or speed == math.inf):
        raise UsageError(f"{text or 'nothing'} is no speed", "write 1x, 10x or max")
    tape.speed = speed
    session.say(f"speed {text}")


VERBS: Final = (
    plain("pause", "pause the picture, or the replay", _pause),
    plain("step-back", "one picture back", lambda s: _step(s, -1)),
    plain("step-forward", "one picture forward", lambda s: _step(s, 1)),
    Verb("seek", "go to a time of the replay", _seek, "TIME"),
    Verb("speed", "speed of the replay", _speed, "FACTOR | max"),
)
