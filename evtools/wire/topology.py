"""Exchange, queue and binding names as plain values."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from evtools.wire.events import routing_key_from

#: AMQP allows 255 bytes; a random part follows.
_QUEUE_NAME_MAX_BYTES = 200
_GLOB_SPECIAL = re.compile(r"([\[\]?*\\])")

#: Event types are chosen by whoever publishes; remember only so many, and
#: none that are longer than AMQP lets a routing key be.
_KNOWN_TYPES_MAX = 1024
_KNOWN_LENGTH_MAX = 255


def exchange_type(driver_type: str) -> str:
    """Return the type Celery gives the event exchange (celery.events.event.get_exchange)."""
    return "fanout" if driver_type == "redis" else "topic"


def queue_name(prefix: str, owner: str, unique: str) -> str:
    """Name an event queue so that a broker's admin sees whose it is."""
    start = f"{prefix}.{owner}".encode(errors="ignore")[:_QUEUE_NAME_MAX_BYTES]
    return f"{start.decode(errors='ignore')}.{unique}"


def queue_arguments(*, ttl: float | None, expires: float | None) -> dict[str, int]:
    """Return RabbitMQ's queue arguments for `ttl` and `expires` in seconds.

    None leaves the argument out, as it does in Celery's settings.
    """
    seconds = {"x-expires": expires, "x-message-ttl": ttl}
    return {name: round(value * 1000) for name, value in seconds.items() if value is not None}


def bindings(routing_keys: Sequence[str]) -> list[str]:
    """Return the keys to bind so that `routing_keys` are delivered.

    A busy worker sends its task events as one `task.multi` message, even a
    single one, so a key that asks for members of a group also needs the
    group's batches; `wanted` then picks the members.
    """
    if any(key == "#" for key in routing_keys):
        return ["#"]
    keys = dict.fromkeys(routing_keys)
    for key in routing_keys:
        group = key.split(".", 1)[0]
        batch = f"{'*' if group == '#' else group}.multi"
        if not _matches(key.split("."), batch.split(".")):
            keys[batch] = None
    return list(keys)


def wanted(routing_keys: Sequence[str]) -> Callable[[str], bool] | None:
    """Return a test of event types against `routing_keys`; None lets all pass.

    The rules are AMQP's topic rules on every transport: `*` is one word, `#`
    any number of words.  A key that names a batch stands for its whole group.
    """
    if any(key == "#" for key in routing_keys):
        return None
    patterns = [
        (key[: -len("multi")] + "#" if key.endswith(".multi") else key).split(".")
        for key in routing_keys
    ]
    known: dict[str, bool] = {}

    def is_wanted(event_type: str) -> bool:
        answer = known.get(event_type)
        if answer is None:
            words = routing_key_from(event_type).split(".")
            answer = any(_matches(pattern, words) for pattern in patterns)
            if len(known) < _KNOWN_TYPES_MAX and len(event_type) <= _KNOWN_LENGTH_MAX:
                known[event_type] = answer
        return answer

    return is_wanted


class RedisTopics(NamedTuple):
    """What to subscribe to on Redis: channels by name, and patterns of them."""

    names: list[str]
    patterns: list[str]
    #: Whether a message may come on two channels.
    copies: bool = False


def redis_topics(
    channels: Sequence[str], routing_keys: Iterable[str], *, by_key: bool
) -> RedisTopics:
    """Return what to subscribe to for `routing_keys`.

    `channels` are those of the whole exchange.  Publishers put a slash and the
    routing key behind that (`by_key`), or nothing (fanout_patterns is off).
    """
    copies = len(channels) > 1
    if not by_key:
        return RedisTopics([*channels], [], copies)
    topics = RedisTopics([], [], copies)
    for key in dict.fromkeys(routing_keys):
        for channel in channels:
            if {"*", "#"}.isdisjoint(key.split(".")):
                topics.names.append(f"{channel}/{key}")
            else:
                topics.patterns.append(f"{escape_glob(channel)}/{redis_glob(key)}")
    return topics


def redis_glob(routing_key: str) -> str:
    """Return a Redis glob that matches at least what the AMQP key matches."""
    glob = ""
    previous = "#"
    for word in routing_key.split("."):
        # "#" may stand for no word at all, and then the dot beside it goes too.
        dot = "" if "#" in (word, previous) else "."
        glob += dot + ("*" if word in ("*", "#") else escape_glob(word))
        previous = word
    return glob


def escape_glob(text: str) -> str:
    """Return a Redis glob that matches `text` and nothing else."""
    return _GLOB_SPECIAL.sub(r"\\\1", text)


def _matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Match words by AMQP's topic rules: `*` is one word, `#` any number.

    No regular expression: those take very long for some keys on types that
    somebody made up of dots.
    """
    here = there = 0
    many, resume = -1, 0
    while there < len(words):
        if here < len(pattern) and pattern[here] == "#":
            many, resume = here, there
            here += 1
        elif here < len(pattern) and pattern[here] in ("*", words[there]):
            here += 1
            there += 1
        elif many >= 0:
            # Let the last "#" take one word more.
            resume += 1
            here, there = many + 1, resume
        else:
            return False
    return all(word == "#" for word in pattern[here:])
