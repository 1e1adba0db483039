"""Exchange, queue and binding names as plain values."""

import re
from collections.abc import Callable, Iterable, Sequence

from evtools.wire.events import routing_key_from

#: Transports on which Celery declares the event exchange as fanout
#: (celery.events.event.get_exchange); topic everywhere else.
FANOUT_DRIVERS = frozenset({"redis", "gcpubsub"})

#: AMQP allows 255 bytes; a random part follows.
_QUEUE_NAME_MAX = 200
_GLOB_SPECIAL = re.compile(r"([\[\]?\\])")
_WORD = r"[^.]*"


def exchange_type(driver_type: str) -> str:
    """Return the type Celery gives the event exchange on this kind of driver."""
    return "fanout" if driver_type in FANOUT_DRIVERS else "topic"


def queue_name(prefix: str, owner: str, unique: str) -> str:
    """Name an event queue so that a broker's admin sees whose it is."""
    return f"{prefix}.{owner}"[:_QUEUE_NAME_MAX] + f".{unique}"


def queue_arguments(*, ttl: float | None, expires: float | None) -> dict[str, int]:
    """Return RabbitMQ's queue arguments for `ttl` and `expires` in seconds.

    None leaves the argument out, as it does in Celery's settings.
    """
    arguments: dict[str, int] = {}
    if expires is not None:
        arguments["x-expires"] = int(expires * 1000)
    if ttl is not None:
        arguments["x-message-ttl"] = int(ttl * 1000)
    return arguments


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
        if not _topic(key).fullmatch(batch):
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
        _topic(key[: -len("multi")] + "#" if key.endswith(".multi") else key)
        for key in routing_keys
    ]
    known: dict[str, bool] = {}

    def is_wanted(event_type: str) -> bool:
        answer = known.get(event_type)
        if answer is None:
            key = routing_key_from(event_type)
            answer = any(pattern.fullmatch(key) for pattern in patterns)
            if len(known) < _KNOWN_TYPES_MAX:
                known[event_type] = answer
        return answer

    return is_wanted


#: Event types are chosen by whoever publishes; remember only so many.
_KNOWN_TYPES_MAX = 1024


def redis_patterns(
    topic_of: Callable[[str], str], routing_keys: Iterable[str], *, by_key: bool
) -> list[str]:
    """Return the PSUBSCRIBE patterns for `routing_keys`.

    `topic_of` gives the channel name for a routing key (an empty one: the
    channel of the whole exchange).  Where the publishers put no routing key
    into the channel name (`by_key` false: fanout_patterns is off) there is
    one channel for everything.
    """
    if not by_key:
        return [escape_glob(topic_of(""))]
    marker = "\0"
    before, _, after = topic_of(marker).partition(marker)
    return [
        f"{escape_glob(before)}{redis_glob(key)}{escape_glob(after)}"
        for key in dict.fromkeys(routing_keys)
    ]


def redis_glob(routing_key: str) -> str:
    """Return a Redis glob that matches at least what the AMQP key matches."""
    return _GLOB_SPECIAL.sub(r"\\\1", routing_key).replace("#", "*")


def escape_glob(text: str) -> str:
    """Return a Redis glob that matches `text` and nothing else."""
    return _GLOB_SPECIAL.sub(r"\\\1", text).replace("*", r"\*")


def _topic(key: str) -> re.Pattern[str]:
    """Compile an AMQP topic key."""
    words = key.split(".")
    parts = [_topic_word(word) for word in words]
    # "#" may stand for no word at all: it owns the dot beside it.
    text = parts[0]
    for previous, word, part in zip(words, words[1:], parts[1:], strict=False):
        if word == "#":
            text += r"(?:\.[^.]*)*"
        elif previous == "#" and text == _ANY:
            text = rf"(?:[^.]*\.)*{part}"
        else:
            text += rf"\.{part}"
    return re.compile(text, re.DOTALL)


_ANY = r".*"


def _topic_word(word: str) -> str:
    if word == "#":
        return _ANY
    return _WORD if word == "*" else re.escape(word)
