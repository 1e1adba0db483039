"""Lines typed at prompts, and filters with a name, also of earlier sessions."""

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


class History:
    """Lines by the kind of their prompt, oldest first, and filters by their name.

    With a `path`, the next session starts with the lines that `keep` wrote; several may share
    it.  Where the file cannot be read or written, is a link, or belongs to another user,
    there is none.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.saved: dict[str, str] = {}
        self._typed: dict[str, list[str]] = {}
        self._path = path
        #: For `keep` to add to the file.
        self._new: list[tuple[str, str]] = []
        self._new_saved: dict[str, str] = {}
        if path is None:
            return
        try:
            with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
                self._load(file.read(_FILE_BYTES_MAX))
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.info("the history is not read: %s", error)

    def lines(self, kind: str) -> Sequence[str]:
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

    def keep(self) -> None:
        """Add what is new to the file, if that is possible."""
        if self._path is None or not (self._new or self._new_saved):
            return
        try:
            make_folders(self._path.parent)
            with os.fdopen(_open(self._path, os.O_RDWR | os.O_CREAT), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                whole = History()
                # Another session may have written meanwhile.
                whole._load(file.read(_FILE_BYTES_MAX))
                for kind, text in self._new:
                    whole._add(kind, text)
                for name, text in self._new_saved.items():
                    whole._name(name, text)
                found = {"typed": whole._typed, "saved": whole.saved}
                file.seek(0)
                file.write(json.dumps(found, indent=1).encode() + b"\n")
                file.truncate()
        except OSError as error:
            _log.info("the history is not kept: %s", error)
        self._new.clear()
        self._new_saved.clear()

    def _add(self, kind: str, text: str) -> None:
        typed = self._typed.setdefault(kind, [])
        typed[:] = [*(one for one in typed if one != text), text][-LINES_MAX:]

    def _name(self, name: str, text: str) -> None:
        self.saved.pop(name, None)
        self.saved[name] = text
        while len(self.saved) > LINES_MAX:
            del self.saved[next(iter(self.saved))]

    def _load(self, content: bytes) -> None:
        """Take the content of a file, as far as evtop would write it."""
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


def _open(path: Path, flags: int) -> int:
    """Return a descriptor of a regular file of this user; raise OSError otherwise.

    Root may run evtop with the home of another user, who must not have root write into
    another file than they could, nor lose a file of theirs.
    """
    descriptor = open_safely(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(f"{path} is not a file of this user")
    return descriptor


def _part(found: Any, name: str) -> Mapping[str, Any]:
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _CHARS_MAX and value.isprintable()
