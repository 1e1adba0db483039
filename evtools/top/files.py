"""Files of evtop: tables, screenshots, copies, recordings, and the history of its prompts."""

import copy
import errno
import fcntl
import json
import logging
import math
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import UNSET

from evtools.clock import Clock
from evtools.errors import EvtoolsError, OutputError, UsageError
from evtools.text import clip, csv_cell, pad, sanitize, width
from evtools.top.columns import as_text
from evtools.top.options import Output
from evtools.top.table import TableModel
from evtools.transport import Notice
from evtools.transport.recording import Compression, RecordingWriter
from evtools.transport.recording.reader import RecordingReader
from evtools.trust import make_folders, open_safely
from evtools.wire import EnvelopeWriter, Event, Joiner, encode_line, gap

_log = logging.getLogger(__name__)

#: No cell of a table for people is wider.
_CELL_COLS: Final = 80


def render_table(table: TableModel, output: Output) -> Iterator[str]:
    """Yield the rows that `table` shows as lines, beginning with a header.

    They have the columns that the user chose, or else all there are.  JSON has no header,
    and always all columns.  Nothing in the lines can harm a terminal.
    """
    if output == "json":
        for record in table.records():
            yield encode_line(record).decode()
        return
    context = table.context
    by_name = {column.name: column for column in table.columns}
    columns = [by_name[name] for name in table.chosen or by_name if name in by_name]
    subjects = (table.subject(key) for key in list(table.keys))
    rows = [subject for subject in subjects if subject is not None]
    if output == "csv":
        # RFC 4180, except for the ends of the lines.
        yield ",".join(column.name for column in columns)
        for row in rows:
            values = [column.value(row, context.of(row).now) for column in columns]
            yield ",".join(
                # An apostrophe goes before a text that a spreadsheet would run.
                "" if one is None else csv_cell(as_text(one), is_number=not isinstance(one, str))
                for one in values
            )
        return
    head = [column.title for column in columns]
    texts = (
        [column.text(row, context.of(row))[: 2 * _CELL_COLS] for column in columns] for row in rows
    )
    body = [[clip(sanitize(text), _CELL_COLS, "..") for text in cells] for cells in texts]
    sizes = [max(map(width, cells)) for cells in zip(head, *body, strict=True)]
    aligns = [column.align for column in columns]
    for cells in (head, *body):
        yield "  ".join(map(pad, cells, sizes, aligns)).rstrip()


#: How many files of one second are distinguished by a number.
_NUMBERS: Final = 1000


def save(clock: Clock, subject: str, extension: str, lines: Iterable[str] = ()) -> str:
    """Write lines into a new file called evtop-SUBJECT-TIME.EXTENSION; return its name.

    It is where evtop was started, and never overwrites another.  Raise OutputError when
    there is none.
    """
    stem = f"evtop-{subject}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(clock.wall()))}"
    for number in range(1, _NUMBERS):
        path = f"{stem}{f'-{number}' if number > 1 else ''}.{extension}"
        try:
            write(path, lines, os.O_EXCL)
        except FileExistsError:
            continue
        return path
    raise OutputError(f"cannot write {stem}.{extension}: too many of that name")


def write(path: str, lines: Iterable[str], flags: int = os.O_TRUNC) -> None:
    """Write lines into a file, in the place of what it has.

    Raise OutputError when that fails, and FileExistsError with os.O_EXCL in `flags`.
    """
    try:
        # A pipe that nobody reads must not hold up the screen.
        descriptor = open_safely(Path(path), os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | flags)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{line}\n" for line in lines)
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {sanitize(path)}: {error.strerror}") from error


class Recording:
    """Write the events that come in into a file; one thread at a time may write.

    Without a path it is a new file.  A failure ends the recording, not the watching: `error`
    then says why.  Raise OutputError when the file cannot be written at all.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        self.path = path or save(clock, "recording", "jsonl")
        self.error = ""
        #: How many events it has.
        self.events = 0
        self._writer = RecordingWriter(self.path, clock=clock)
        #: By cluster: in another one the same id is another task.
        self._joiners: defaultdict[str, Joiner] = defaultdict(Joiner)
        self._envelopes = EnvelopeWriter()

    def write(self, events: Iterable[Event]) -> None:
        """Write a batch of one cluster, as evdump does; flush what is due; never raises."""
        if self.error:
            return
        # What the screen shows gets nothing joined; a recording that is played has it already.
        copies = [copy.copy(event) for event in events]
        if fresh := [event for event in copies if event.known is UNSET]:
            self._joiners[fresh[0].cluster or ""].join(fresh)
        try:
            for event in copies:
                self._writer.write(self._envelopes.line(event))
                self.events += 1
            self._writer.settle()
        except OutputError as error:
            self.error = error.message

    def close(self) -> None:
        """Write the rest and let go of the file; idempotent, never raises."""
        try:
            self._writer.close()
        except OutputError as error:
            self.error = self.error or error.message


#: Of how many files a history is made, by turns; the oldest goes when one is full.
_RING: Final = 4
#: How long to wait before a file that could not be written is tried again, in seconds.
_RETRY: Final = 5.0
#: With what each file begins.
_BEGINNING: Final = b'{"v":'
_LOCK_BYTES_MAX: Final = 64 * 1024
_TAIL_BYTES: Final = 64 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class EventHistory:
    """The last events, kept in files for the next evtop: a recording of at most `max_bytes`.

    The files are `path`, and the older ones PATH.1 to PATH.3; PATH.lock is locked while they are
    written, and says of which clusters they are, as `origin` does.  Of two evtops the second one
    reads them only.  `error` says why they cannot be written at the moment; that is tried again,
    and then a gap record stands for what is missing.  One thread at a time may use it.

    Raise UsageError for files that are something else, or of other clusters, or cannot be opened,
    and OutputError for a full disk.
    """

    def __init__(self, path: str, clock: Clock, *, max_bytes: int, origin: Sequence[str]) -> None:
        self.path = path = str(Path(path).expanduser())
        self.error = ""
        self._clock, self._max_bytes = clock, max_bytes
        self._envelopes = EnvelopeWriter()
        self._news: list[Notice] = []
        self._writer: RecordingWriter | None = None
        #: When to try again, in monotonic seconds, and from when on how many events are missing.
        self._retry_at, self._missing_since, self._missing = 0.0, 0.0, 0
        #: By cluster, when the last event of the evtop before was received.
        self._last: dict[str, float] = {}
        if Compression.of(path) is not Compression.NONE or path == "-":
            hint = "give it another name, as in --history evtop.jsonl"
            raise UsageError("a history is neither compressed nor written to stdout", hint)
        try:
            self._files = [name for name in _ring(path) if self._is_ours(name)]
            self._lock = _open(Path(f"{path}.lock"), os.O_RDWR | os.O_CREAT)
            self._take_lock(origin)
        except OSError as error:
            text = f"cannot write {path}: {error.strerror or error}"
            raise (OutputError if error.errno in _FULL else UsageError)(text) from error

    def _is_ours(self, name: str) -> bool:
        # Whether there is such a file with events; raise for one that is something else.
        try:
            with _open(Path(name), os.O_RDONLY) as file:
                head = file.read(len(_BEGINNING))
        except FileNotFoundError:
            return False
        if head and head != _BEGINNING:
            hint = "it is left as it is: give another file"
            raise UsageError(f"{name} is no history of evtop", hint)
        return bool(head)

    def _take_lock(self, origin: Sequence[str]) -> None:
        lock = self._lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.writes = True
        except BlockingIOError:
            self.writes = False
        try:
            found = msgspec.json.decode(lock.read(_LOCK_BYTES_MAX) or b"{}", type=_Lock)
        except msgspec.MsgspecError:
            found = _Lock()
        if self._files and found.origin and found.origin != list(origin):
            lock.close()
            was, now = (", ".join(each) for each in (found.origin, origin))
            text = f"{self.path} is the history of {was}, not of {now}"
            raise UsageError(text, f"give another file, or remove it: rm {self.path}*")
        if not self.writes:
            text = f"another evtop ({found.pid}) writes {self.path}: this one only reads it"
            self._news.append(Notice("warning", text))
            return
        with suppress(OSError):  # a full disk
            lock.seek(0)
            lock.truncate()
            lock.write(msgspec.json.encode(_Lock(os.getpid(), list(origin))))
            lock.flush()
        if self.path in self._files:
            _cut_torn_line(self.path)

    def events(self) -> Iterator[list[Event]]:
        """Yield what the files have, in batches; never raise."""
        count, first, notice = 0, math.inf, None
        try:
            if self._files:
                reader = RecordingReader(*self._files, clock=self._clock)
                with closing(reader):
                    for batch in reader.events():
                        count += len(batch)
                        for event in batch:
                            first = min(first, event.local_received or first)
                            self._last[event.cluster or ""] = event.local_received
                        yield batch
                    if bad := reader.statistics().malformed:
                        text = f"{self.path}: {bad} lines of it cannot be read"
                        notice = Notice("warning", text)
        except EvtoolsError as error:
            notice = Notice("warning", error.message)
        if count and notice is None:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(first))
            notice = Notice("note", f"{count} events since {since} are from {self.path}")
        if notice is not None:
            # A warning stays longer in sight if it comes last.
            self._news.insert(0, notice)

    def write(self, batch: list[Event]) -> list[Event]:
        """Write a batch of one cluster at once; never raise.

        Return it with the gap record between the evtop before and this one, if it is the first.
        """
        if batch and self._last:
            name = batch[0].cluster or ""
            if (last := self._last.pop(name, None)) is not None:
                hole = gap("stopped", last, max(last, batch[0].local_received))
                hole.cluster = name or UNSET
                batch = [hole, *batch]
        if batch and self.writes:
            self._put(batch)
        return batch

    def _put(self, batch: list[Event]) -> None:
        now, events = self._clock.monotonic(), [copy.copy(event) for event in batch]
        if not self.error or now >= self._retry_at:
            try:
                self._writer = self._writer or RecordingWriter(
                    self.path.replace("%", "%%"), clock=self._clock, append=True, mode=0o600,
                    rotate_size=self._max_bytes // _RING, rotate_keep=_RING - 1,
                )  # fmt: skip
                if self.error:
                    hole = gap("stopped", self._missing_since, batch[0].local_received,
                               error=self.error, lost=self._missing)  # fmt: skip
                    hole.cluster = batch[0].cluster
                    events.insert(0, hole)
                self._writer.write(self._envelopes.lines(events)[:-1])
                # At once, so that nothing is missing after a kill.
                self._writer.flush()
            except OutputError as error:
                self._fail(error, now)
            else:
                if self.error:
                    text = f"{self.path} is written again; {self._missing} events are missing in it"
                    self._news.append(Notice("note", text))
                    self.error, self._missing = "", 0
                return
        self._missing_since = self._missing_since if self._missing else batch[0].local_received
        self._missing += len(batch)

    def _fail(self, error: OutputError, now: float) -> None:
        if not self.error:
            text = f"{error.message}; evtop goes on, and tries again"
            self._news.append(Notice("warning", text))
        self.error, self._retry_at, self._writer = error.message, now + _RETRY, None

    def news(self) -> Iterator[Notice]:
        """Yield what there is to say, once."""
        while self._news:
            yield self._news.pop(0)

    def close(self) -> None:
        """Let go of the files; idempotent, never raises."""
        if self._writer is not None:
            with suppress(OutputError):
                self._writer.close()
        self._lock.close()


class _Lock(msgspec.Struct):
    pid: int = 0
    origin: list[str] = []


def _ring(path: str) -> list[str]:
    # The files of a history, the oldest first.
    return [*(f"{path}.{number}" for number in range(_RING - 1, 0, -1)), path]


def _cut_torn_line(path: str) -> None:
    # A killed evtop may have left half a line at the end.
    with _open(Path(path), os.O_RDWR) as file:
        size = file.seek(0, os.SEEK_END)
        start = size
        while start > 0:
            start = max(0, start - _TAIL_BYTES)
            file.seek(start)
            end = file.read(_TAIL_BYTES).rfind(b"\n")
            if end >= 0 or not start:
                file.truncate(start + end + 1)
                return


#: The prompts whose lines are worth keeping, and the filters with a name.
KINDS: Final = ("filter", "search", "command", "seek")
_SAVED: Final = "saved"
#: The most lines of a kind, and filters with a name.
LINES_MAX: Final = 100
#: No filter and no line that is typed is longer.
_CHARS_MAX: Final = 4096
#: A larger file was not written by evtop: escaped, a character takes 12 bytes at the most.
_FILE_BYTES_MAX: Final = 12 * (len(KINDS) + 1) * LINES_MAX * _CHARS_MAX


def usual_file(environ: Mapping[str, str]) -> Path | None:
    """Return where the history is kept, as XDG has it; None without a home."""
    home = environ.get("HOME", "")
    state = environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return Path(state) / "evtools" / "evtop-history.json" if state else None


class _Content(msgspec.Struct):
    typed: dict[str, list[str]] = {}
    saved: dict[str, str] = {}


class History:
    """Lines by the kind of their prompt, oldest first, and filters by their name.

    With a `path`, the next session starts with the lines that `keep` wrote; several may share
    it.  Where the file cannot be read or written, is a link, or belongs to another user,
    there is none.
    """

    def __init__(self, path: Path | None = None) -> None:
        #: By kind; a line stands for itself, a filter for its name.
        self._entries: dict[str, dict[str, str]] = {kind: {} for kind in (*KINDS, _SAVED)}
        self._path = path
        #: For `keep` to add to the file: kind, line or name, text.
        self._new: list[tuple[str, str, str]] = []
        if path is None:
            return
        try:
            with _open(path, os.O_RDONLY) as file:
                self._load(file)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.info("the history is not read: %s", error)

    @property
    def saved(self) -> Mapping[str, str]:
        """The filters, by their names."""
        return self._entries[_SAVED]

    def lines(self, kind: str) -> Sequence[str]:
        return list(self._entries[kind])

    def remember(self, kind: str, text: str) -> None:
        """Add a line, as the newest of its kind."""
        if text:
            self._put(kind, text, text)
            self._new.append((kind, text, text))
            del self._new[: -len(KINDS) * LINES_MAX]

    def save(self, name: str, text: str) -> None:
        """Give a filter a name, in this session and, at once, in the next."""
        self._put(_SAVED, name, text)
        self._new.append((_SAVED, name, text))
        self.keep()

    def keep(self) -> None:
        """Add what is new to the file, if that is possible."""
        if self._path is None or not self._new:
            return
        try:
            make_folders(self._path.parent)
            with _open(self._path, os.O_RDWR | os.O_CREAT) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                whole = History()
                # Another session may have written meanwhile.
                whole._load(file)
                for entry in self._new:
                    whole._put(*entry)
                typed = {kind: whole.lines(kind) for kind in KINDS}
                file.seek(0)
                file.write(json.dumps({"typed": typed, "saved": whole.saved}, indent=1).encode())
                file.write(b"\n")
                file.truncate()
        except OSError as error:
            _log.info("the history is not kept: %s", error)
        self._new.clear()

    def _put(self, kind: str, key: str, text: str) -> None:
        entries = self._entries[kind]
        entries.pop(key, None)
        entries[key] = text
        while len(entries) > LINES_MAX:
            del entries[next(iter(entries))]

    def _load(self, file: IO[bytes]) -> None:
        # As far as evtop would write it.
        try:
            content = json.loads(file.read(_FILE_BYTES_MAX) or b"{}")
            found = msgspec.convert(content, _Content)
        except (ValueError, RecursionError):
            return
        lines = [(kind, text, text) for kind in KINDS for text in found.typed.get(kind, ())]
        for entry in [*lines, *((_SAVED, *item) for item in found.saved.items())]:
            if all(0 < len(text) <= _CHARS_MAX and text.isprintable() for text in entry):
                self._put(*entry)


def _open(path: Path, flags: int) -> IO[bytes]:
    # Only a regular file of this user.  Root may run evtop with the home of another user, who
    # must not have root write into another file than they could, nor lose a file of theirs.
    descriptor = open_safely(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(f"{path} is not a file of this user")
    return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb")
