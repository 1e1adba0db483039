"""The error tree.

EvtoolsError                 exit 1
 +- UsageError               exit 2    a bad value of an option
 |   +- FilterError                    with the place of the mistake
 |   +- ImproperlyConfigured           settings that contradict each other
 +- BrokerUnavailable        exit 69   gave up reaching the broker
 |   +- AccessRefused                  login or permission; another attempt is useless
 +- CameraFailed             exit 70   the camera failed too often in a row
 +- OutputError              exit 73   a file cannot be created or written
 +- ConfigError              exit 78   a bad settings file
 +- DecodeError              the peer's fault; counted, never fatal
"""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NoReturn, TypeAlias


class EvtoolsError(Exception):
    """Something went wrong that the user can do something about.

    `message` is one line: what and why.  `hint`, of any number of lines, says what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(EvtoolsError):
    """An option has a value that cannot work."""

    exit_code = 2


class FilterError(UsageError):
    """A filter cannot be read.

    `text` is the whole filter; the mistake is at `position` (from 0), `length` characters long.
    """

    def __init__(
        self, message: str, hint: str = "", *, text: str, position: int, length: int = 1
    ) -> None:
        super().__init__(message, hint)
        self.text, self.position, self.length = text, position, length


class ImproperlyConfigured(UsageError):
    """Settings contradict each other."""


class BrokerUnavailable(EvtoolsError):
    """The broker could not be reached and trying was given up."""

    exit_code = 69


class AccessRefused(BrokerUnavailable):
    """The broker refused the login or the virtual host."""


class CameraFailed(EvtoolsError):
    """The camera failed too many times in a row."""

    exit_code = 70


class OutputError(EvtoolsError):
    """A file cannot be created or written."""

    exit_code = 73


class ConfigError(EvtoolsError):
    """A settings file is missing, unreadable or wrong."""

    exit_code = 78


class DecodeError(EvtoolsError):
    """A message is no event; `kind` names the defect in a few words."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail


# --- tables of the settings file --------------------------------------------------------

#: Raises ConfigError about a key of a table: the key or "", what is wrong, and perhaps a hint.
Fail: TypeAlias = Callable[..., NoReturn]
_NAME: Final = re.compile(r"[\w-]+")


def check_table(
    name: str, place: str, table: Mapping[str, Any], kinds: Mapping[str, object]
) -> Fail:
    """Check the table of a name of the user's, such as [command.NAME], which `place` names.

    `kinds` are the keys that it may have, and the types of flags and of lines of text.  Return
    what raises ConfigError for one of its keys; raise it for the name, an unknown key, and a
    value that is no flag or no line of text where it must be.
    """

    def fail(key: str, what: str, hint: str = "see evtools.toml(5)") -> NoReturn:
        raise ConfigError(f"{place}{f'.{key}' if key else ''}: {what}", hint)

    if not _NAME.fullmatch(name):
        fail("", "its name must be of letters, digits, - and _")
    for key, value in table.items():
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, 1)
            fail(key, "there is no such setting", f"did you mean {near[0]}?" if near else "")
        if kinds[key] is bool and type(value) is not bool:
            fail(key, "must be true or false")
        if kinds[key] is str and not (isinstance(value, str) and value.isprintable()):
            fail(key, "must be a text on one line")
    return fail
