"""The names of Redis's event channels, and what settings of Celery lie behind them."""

import re
from dataclasses import dataclass

_WITH_DATABASE = re.compile(
    r"(?P<keyprefix>.*)/(?P<database>[0-9]{1,5})\.(?P<exchange>.+)", re.DOTALL
)
#: Events of workers and tasks, as kombu puts their routing key behind a slash.
_KEY = re.compile(r"(worker|task)\.[a-z.]{1,40}")


@dataclass(frozen=True, slots=True)
class Naming:
    """How our own channels are called.

    `bases` are the names of the channel without a routing key, mostly one;
    `by_key` says whether one follows.
    """

    bases: tuple[str, ...]
    exchange: str
    database: int
    keyprefix: str
    by_key: bool


def difference(ours: Naming, channel: str) -> tuple[str, ...]:
    """Return the options that lead from our settings to `channel`.

    A changed database is `-b` and its number, first of all.  There are none
    for our own channels.
    """
    base, slash, key = channel.rpartition("/")
    by_key = bool(slash) and _KEY.fullmatch(key) is not None
    base = base if by_key else channel
    words: tuple[str, ...] = ()
    if base not in ours.bases:
        words = _of_default_prefix(ours, base) or _of_other_prefix(ours, base)
    if by_key != ours.by_key:
        words += ("--fanout-patterns" if by_key else "--no-fanout-patterns",)
    return words


def _of_default_prefix(ours: Naming, base: str) -> tuple[str, ...]:
    match = _WITH_DATABASE.fullmatch(base)
    if match is None:
        return ()
    words: tuple[str, ...] = ()
    if int(match["database"]) != ours.database:
        words += ("-b", str(int(match["database"])))
    if match["exchange"] != ours.exchange:
        words += ("--event-exchange", match["exchange"])
    if match["keyprefix"] != ours.keyprefix:
        words += ("--global-keyprefix", match["keyprefix"])
    # Only our own prefix can be to blame for what is left.
    return words or ("--fanout-prefix", "on")


def _of_other_prefix(ours: Naming, base: str) -> tuple[str, ...]:
    """Take what stands before the exchange for a prefix of their own."""
    rest = base.removeprefix(ours.keyprefix)
    prefix = rest.removesuffix(ours.exchange)
    if prefix != rest:
        return ("--fanout-prefix", _written(prefix))
    prefix, found, name = rest.rpartition("celeryev")
    if found and not name:
        return ("--event-exchange", "celeryev", "--fanout-prefix", _written(prefix))
    return ("--event-exchange", rest, "--fanout-prefix", "off")


def _written(prefix: str) -> str:
    """Return the prefix as an option has it, where only {db} may stand in braces."""
    return prefix.replace("{", "{{").replace("}", "}}") or "off"
