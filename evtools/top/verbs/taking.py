"""Commands that take something away: copies, exports, recordings."""

from pathlib import Path
from typing import Final

from evtools.errors import UsageError
from evtools.text import clip, human_size, sanitize
from evtools.top.export import Exporter
from evtools.top.recording import Recording
from evtools.top.session import Session
from evtools.top.terminal import copy_sequence
from evtools.top.verbs.verb import Verb, plain
from evtools.top.widgets.dialog import Dialog
from evtools.top.widgets.menu import Choice

#: How much of a copy is shown.
_SHOWN_COLS: Final = 40
#: Views whose keys say nothing to people, and what of a row is copied instead.
_NAMED_BY: Final = {"events": "uuid", "errors": "name"}


def _focus(session: Session) -> str:
    key = session.table.focus_key
    if key is None:
        raise UsageError("there is no row to copy")
    return key


def _copy(session: Session) -> None:
    key = _focus(session)
    field = _NAMED_BY.get(session.view, "")
    _put(session, session.table.values(key).get(field, key))


def _copy_row(session: Session) -> None:
    _put(session, session.table.as_json(_focus(session)))


def _put(session: Session, text: str) -> None:
    sequence = copy_sequence(text)
    if sequence:
        session.host.send(sequence)
        shown = clip(sanitize(text), _SHOWN_COLS)
        session.say(f"copied, if the terminal allows it: {shown}")
    else:
        path = Exporter(session.clock).copied(text)
        session.say(f"too long for a clipboard; it is in {path}")


# --- export -----------------------------------------------------------------------


def _export(session: Session, what: str) -> None:
    if what:
        if what not in _EXPORTS:
            raise UsageError(f"{what} cannot be exported", f"there are {', '.join(_EXPORTS)}")
        _EXPORTS[what](session)
        return
    recording = session.feed.recording
    choices = (
        ("j", "rows as JSON Lines", "jsonl"),
        ("c", "rows as CSV", "csv"),
        ("s", "screenshot", "screenshot"),
        ("r", "stop recording" if recording else "record from now on", "recording"),
    )
    session.menu(
        "export",
        [
            Choice(text, lambda what=what: _EXPORTS[what](session), key)  # type: ignore[misc]
            for key, text, what in choices
        ],
    )


def _rows(session: Session) -> None:
    path = Exporter(session.clock).json(session.table)
    session.say(f"{len(session.table)} rows in {path}")


def _csv(session: Session) -> None:
    path = Exporter(session.clock).csv(session.table)
    session.say(f"{len(session.table)} rows in {path}")


def _screenshot(session: Session) -> None:
    path = Exporter(session.clock).screenshot(session.view, session.host.screen())
    session.say(f"screenshot in {path}")


def _toggle_recording(session: Session) -> None:
    if session.feed.recording is not None:
        _stop_recording(session)
    else:
        _start(session, Exporter(session.clock).recording())


def _stop_recording(session: Session) -> None:
    recording = session.feed.recording
    session.feed.record(None)
    if recording is not None:
        session.say(f"{recording.events} events in {recording.path}")


def _record(session: Session, path: str) -> None:
    if path in ("", "off", "stop"):
        _toggle_recording(session) if not path else _stop_recording(session)
        return
    there = Path(path)
    if not (there.is_file() and there.stat().st_size):
        _start(session, Recording(path, session.clock))
        return
    session.layers.append(
        Dialog(
            "overwrite?",
            [f"{sanitize(path)} has {human_size(there.stat().st_size)}."],
            lambda: _start(session, Recording(path, session.clock)),
            yes="Overwrite",
        )
    )


def _start(session: Session, recording: Recording) -> None:
    session.feed.record(recording)
    session.say(f"recording into {recording.path}")


_EXPORTS: Final = {
    "jsonl": _rows,
    "csv": _csv,
    "screenshot": _screenshot,
    "recording": _toggle_recording,
}

VERBS: Final = (
    plain("copy", "copy the id or the name", _copy),
    plain("copy-row", "copy the row as JSON", _copy_row),
    Verb("export", "write a file", _export, "KIND", lambda _: tuple(_EXPORTS)),
    Verb("record", "record into a file", _record, "FILE | off"),
)
