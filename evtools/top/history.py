"""What was typed at prompts, and the filters that have a name, also of earlier days."""

import fcntl
import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evtools.trust import make_folders, open_safely

_log = logging.getLogger(__name__)

#: The prompts whose lines are worth keeping.
KINDS: Final = ("filter", "search", "command", "seek")
#: How many lines of a kind there are, and filters with a name.
LINES_MAX: Final = 100
#: No filter and no line that is typed is longer.
_CHARS_MAX: Final = 4096
#: A file with more is none of ours: escaped, a character takes 12 bytes at the most.
_FILE_BYTES_MAX: Final = 12 * (len(KINDS) + 1) * LINES_MAX * _CHARS_MAX


def usual_file(environ: Mapping[str, str]) -> Path | None:
    """Return where the history is kept, as XDG has it; None without a home."""
    home = environ.get("HOME", "")
    state = environ.get("XDG_STATE_HOME") or (home and f"{home}/.local/state")
    return Path(state) / "evtools" / "evtop-history.json" if state else None


class History:
    """Lines by the kind of their prompt, oldest first, and filters by their name.

    With a `path`, what `keep` has written there is known again in the next
    session; several sessions may share it.  Where the file cannot be read or
    written, is a link, or belongs to somebody else, they do without.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.saved: dict[str, str] = {}
        self._typed: dict[str, list[str]] = {}
        self._path = path
        #: What `keep` has to add to the file.
        self._new: list[tuple[str, str]] = []
        self._new_saved: dict[str, str] = {}
        if path is not None:
            self._read(path)

    def lines(self, kind: str) -> Sequence[str]:
        """Return what was typed at prompts of a kind, oldest first."""
        return self._typed.get(kind, ())

    def remember(self, kind: str, text: str) -> None:
        """Add a line, as the newest of its kind."""
        if text:
            self._add(kind, text)
            self._new.append((kind, text))
            del self._new[: -len(KINDS) * LINES_MAX]

    def save(self, name: str, text: str) -> None:
        """Give a filter a name, in this session and, at once, in the next."""
        self._name(name, text)
        self._new_saved[name] = text
        self.keep()

    def _add(self, kind: str, text: str) -> None:
        typed = self._typed.setdefault(kind, [])
        typed[:] = [*(one for one in typed if one != text), text][-LINES_MAX:]

    def _name(self, name: str, text: str) -> None:
        self.saved.pop(name, None)
        self.saved[name] = text
        while len(self.saved) > LINES_MAX:
            del self.saved[next(iter(self.saved))]

    # --- the file ---------------------------------------------------------------

    def _read(self, path: Path) -> None:
        try:
            descriptor = _opened(path, os.O_RDONLY)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.info("the history is not read: %s", error)
            return
        with os.fdopen(descriptor, "rb") as file:
            self._learn(file.read(_FILE_BYTES_MAX))

    def _learn(self, content: bytes) -> None:
        """Take what is in a file, as far as it is what we would write."""
        try:
            found = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            return
        typed = _part(found, "typed")
        for kind in KINDS:
            lines = typed.get(kind)
            for text in lines if isinstance(lines, list) else ():
                if _is_line(text):
                    self._add(kind, text)
        for name, text in _part(found, "saved").items():
            if _is_line(name) and _is_line(text):
                self._name(name, text)

    def keep(self) -> None:
        """Add what is new to the file; do without where that cannot be."""
        if self._path is None or not (self._new or self._new_saved):
            return
        try:
            make_folders(self._path.parent)
            descriptor = _opened(self._path, os.O_RDWR | os.O_CREAT)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                content = self._added_to(file.read(_FILE_BYTES_MAX))
                file.seek(0)
                file.write(content)
                file.truncate()
        except OSError as error:
            _log.info("the history is not kept: %s", error)
        self._new.clear()
        self._new_saved.clear()

    def _added_to(self, content: bytes) -> bytes:
        """Return a file with what is new, whoever has written the rest of it."""
        whole = History()
        whole._learn(content)
        for kind, text in self._new:
            whole._add(kind, text)
        for name, text in self._new_saved.items():
            whole._name(name, text)
        found = {"typed": whole._typed, "saved": whole.saved}
        return json.dumps(found, indent=1).encode() + b"\n"


def _opened(path: Path, flags: int) -> int:
    """Return a descriptor of a regular file of ours; raise OSError otherwise.

    Root may run evtop with the home of somebody else: nobody shall have us write
    into another file than they could, nor lose what is theirs.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = open_safely(path, flags, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(f"{path} is no file of ours")
    return descriptor


def _part(found: Any, name: str) -> Mapping[str, Any]:
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}


def _is_line(value: Any) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= _CHARS_MAX:
        return False
    return value.isprintable()
