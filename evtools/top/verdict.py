"""What to make of what was seen of a worker: OK, WARNING, CRITICAL or UNKNOWN."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from evtools.text import human_duration, sanitize
from evtools.top.options import Check

Level: TypeAlias = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]

#: The status a plugin of Nagios ends with.
STATUSES: Final[dict[Level, int]] = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
#: What is told first when several things are wrong.
_WORST_FIRST: Final[tuple[Level, ...]] = ("CRITICAL", "WARNING", "UNKNOWN", "OK")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of a worker, and for how long we looked.

    `age` is of its last sign of life, None if there was none.  `done` is how
    many tasks it processed while we looked, None if it did not tell twice.
    `processes` is how many of them use its name.
    `answers` and `queues` are what it said when asked, None if it was not.
    """

    worker: str
    looked: float
    age: float | None = None
    stopped: bool = False
    processed: int | None = None
    done: int | None = None
    active: int | None = None
    processes: int = 1
    answers: bool | None = None
    queues: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A level and why."""

    level: Level
    text: str


def judge(check: Check, seen: Sequence[Sighting], *, patience: float) -> list[Verdict]:
    """Return all there is to say, the worst first.

    `patience` is how old a heartbeat may be, in seconds.
    """
    said = [
        Verdict(verdict.level, f"{sanitize(one.worker)} {verdict.text}")
        for one in seen
        for verdict in _judge(check, one, patience) or (_well(check, one),)
    ]
    return sorted(said, key=lambda verdict: _WORST_FIRST.index(verdict.level))


def _judge(check: Check, one: Sighting, patience: float) -> tuple[Verdict, ...]:
    if one.stopped:
        return (Verdict("CRITICAL", "has shut down"),)
    return (*_pulse(one, patience), *_shared(one), *_consuming(check, one), *_progress(check, one))


def _pulse(one: Sighting, patience: float) -> Iterator[Verdict]:
    beats = one.age is not None and one.age <= patience
    silent = f"sent no heartbeat in {human_duration(patience)}"
    if not beats and one.answers:
        yield Verdict("WARNING", f"answers, but {silent}")
    elif not beats:
        mute = " and does not answer" if one.answers is not None else ""
        yield Verdict("CRITICAL", f"{silent}{mute}")
    elif one.answers is False:
        yield Verdict("WARNING", "sends heartbeats, but does not answer")


def _shared(one: Sighting) -> Iterator[Verdict]:
    if one.processes > 1:
        yield Verdict("WARNING", f"is the name of {one.processes} processes")


def _consuming(check: Check, one: Sighting) -> Iterator[Verdict]:
    if check.queues and one.answers is None:
        yield Verdict("UNKNOWN", "was not asked what it consumes: --read-only")
    for queue in check.queues:
        if one.queues is not None and queue not in one.queues:
            yield Verdict("CRITICAL", f"does not consume {sanitize(queue)}")


def _progress(check: Check, one: Sighting) -> Iterator[Verdict]:
    if check.max_idle is None or one.done or one.age is None:
        return
    span = human_duration(one.looked)
    if one.done is None:
        yield Verdict("UNKNOWN", f"did not tell in {span} what it has processed")
    else:
        yield Verdict("CRITICAL", f"has processed no task in {span}")


def _well(check: Check, one: Sighting) -> Verdict:
    parts = [f"is alive, heartbeat {human_duration(one.age or 0.0)} ago"]
    if check.queues:
        parts.append("consumes " + " ".join(map(sanitize, check.queues)))
    if check.max_idle is not None:
        noun = "task" if one.done == 1 else "tasks"
        parts.append(f"{one.done} {noun} in {human_duration(one.looked)}")
    return Verdict("OK", ", ".join(parts))


def line(verdicts: Sequence[Verdict], seen: Sequence[Sighting], patience: float) -> str:
    """Return the line that Nagios reads: the level, why, and figures."""
    text = "; ".join(verdict.text for verdict in verdicts).replace("|", "/")
    figures = " ".join(figure for one in seen for figure in _figures(one, patience))
    return f"{verdicts[0].level} - {text}" + (f" | {figures}" if figures else "")


def _figures(one: Sighting, patience: float) -> Iterator[str]:
    name = sanitize(one.worker).replace("'", "''").replace("=", "_").replace("|", "/")
    if one.age is not None:
        yield f"'{name} heartbeat_age'={one.age:.3f}s;;{patience:g};0"
    if one.processed is not None:
        yield f"'{name} processed'={one.processed}c"
    if one.active is not None:
        yield f"'{name} active'={one.active};;;0"
