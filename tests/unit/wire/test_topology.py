"""Exchanges, queues and bindings: what Celery declares, what AMQP delivers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtools.wire.events import group_from, routing_key_from
from evtools.wire.topology import (
    bindings,
    escape_glob,
    queue_arguments,
    queue_name,
    redis_glob,
    redis_topics,
    wanted,
)

words = st.sampled_from(["task", "worker", "sent", "multi", "heartbeat", "a", ""])
keys = st.lists(words | st.sampled_from(["*", "#"]), min_size=1, max_size=6).map(".".join)
#: An event type may be anything; these collide with the keys often.
types = st.lists(words, min_size=1, max_size=6).map("-".join).filter(bool)


def amqp_delivers(key, routing_key):
    """AMQP's topic rules, word by word."""

    def match(pattern, words):
        if not pattern:
            return not words
        head, *rest = pattern
        if head == "#":
            return match(rest, words) or (bool(words) and match(pattern, words[1:]))
        return bool(words) and head in ("*", words[0]) and match(rest, words[1:])

    return match(key.split("."), routing_key.split("."))


def redis_delivers(pattern, channel):
    """Redis's glob rules, by way of a regular expression."""
    parts = re.findall(r"\\.|\[[^\]]*\]|.", pattern, re.DOTALL)
    regex = "".join(
        {"*": ".*", "?": "."}.get(part, re.escape(part.removeprefix("\\"))) for part in parts
    )
    return re.fullmatch(regex, channel, re.DOTALL) is not None


# --- exchange and queue ----------------------------------------------------------


@given(st.text(min_size=100), st.text(min_size=100))
def test_the_name_of_a_queue_fits_into_amqp_and_stays_unique(prefix, owner):
    name = queue_name(prefix * 3, owner * 3, "0123456789ab")
    assert len(name.encode()) <= 255
    assert name.endswith(".0123456789ab")


def test_queue_arguments_are_milliseconds():
    assert queue_arguments(ttl=5.0, expires=60.0) == {"x-expires": 60_000, "x-message-ttl": 5_000}
    assert queue_arguments(ttl=1.001, expires=0.0015) == {"x-expires": 2, "x-message-ttl": 1_001}
    # What is none is left to the broker.
    assert queue_arguments(ttl=None, expires=1) == {"x-expires": 1000}
    assert queue_arguments(ttl=1, expires=None) == {"x-message-ttl": 1000}


# --- bindings --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "bound"),
    [
        (["#"], ["#"]),
        (["task.sent", "#"], ["#"]),
        (["task.#"], ["task.#"]),
        (["task.*"], ["task.*"]),
        (["task.multi"], ["task.multi"]),
        (["task.sent"], ["task.sent", "task.multi"]),
        (["task.sent", "task.failed"], ["task.sent", "task.failed", "task.multi"]),
        (["worker.*", "task.sent"], ["worker.*", "task.sent", "task.multi"]),
        (["*.sent"], ["*.sent", "*.multi"]),
        (["#.sent"], ["#.sent", "*.multi"]),
        (["task.sent", "task.sent"], ["task.sent", "task.multi"]),
        ([], []),
    ],
)
def test_a_group_is_bound_with_its_batches(asked, bound):
    assert bindings(asked) == bound


@given(st.lists(keys, min_size=1, max_size=3), types)
def test_whatever_is_wanted_is_delivered_alone_and_in_a_batch(asked, event_type):
    bound = bindings(asked)
    is_wanted = wanted(asked)
    if is_wanted is not None and not is_wanted(event_type):
        return
    batch = f"{group_from(event_type)}.multi"
    alone = routing_key_from(event_type)
    # A key that names a batch asks for batches alone.
    asks_alone = [key for key in asked if amqp_delivers(key, alone)]
    assert not asks_alone or any(amqp_delivers(key, alone) for key in bound)
    if event_type and group_from(event_type):
        assert any(amqp_delivers(key, batch) for key in bound)


# --- what is wanted --------------------------------------------------------------


def test_the_key_for_everything_needs_no_test():
    assert wanted(["#"]) is None
    assert wanted(["task.sent", "#"]) is None


@given(keys.filter(lambda key: key != "#" and not key.endswith(".multi")), types)
def test_what_is_wanted_is_what_amqp_would_deliver(key, event_type):
    is_wanted = wanted([key])
    expected = amqp_delivers(key, routing_key_from(event_type))
    assert is_wanted(event_type) is expected
    assert is_wanted(event_type) is expected, "and again, from memory"


@pytest.mark.parametrize(
    ("key", "event_type", "answer"),
    [
        ("task.#", "taskforce-sent", False),
        ("a.#.b", "a-x-b-y-b", True),
        ("task.multi", "task-sent", True),
        ("task.multi", "worker-online", False),
        ("task?sent", "task-sent", False),
        ("[a-z]*", "task", False),
        ("task\n", "task", False),
    ],
)
def test_batches_and_what_is_odd_are_wanted_or_not(key, event_type, answer):
    assert wanted([key])(event_type) is answer


def test_one_of_several_keys_is_enough():
    is_wanted = wanted(["task.sent", "worker.*"])
    assert is_wanted("task-sent")
    assert is_wanted("worker-online")
    assert not is_wanted("task-failed")
    assert not wanted([])("task-sent")


def test_a_forged_type_takes_no_time_and_no_memory():
    is_wanted = wanted(["#.a.#.b.#.c.#.d"])
    assert not is_wanted("a-b-" * 100_000 + "-" * 100_000)
    for number in range(3000):
        is_wanted(f"type-{number}")
        is_wanted("x" * 10_000 + str(number))
    (known,) = (
        cell.cell_contents for cell in is_wanted.__closure__ if isinstance(cell.cell_contents, dict)
    )
    assert len(known) == 1024
    assert max(map(len, known)) < 256
    assert is_wanted("a-b-c-d")


# --- Redis -----------------------------------------------------------------------


@given(keys, types)
def test_redis_delivers_at_least_what_amqp_would(key, event_type):
    routing_key = routing_key_from(event_type)
    if amqp_delivers(key, routing_key):
        assert redis_delivers(redis_glob(key), routing_key)


@pytest.mark.parametrize(
    ("key", "glob"),
    [
        ("#", "*"),
        ("task.sent", "task.sent"),
        ("task.*", "task.*"),
        ("task.#", "task*"),
        ("#.sent", "*sent"),
        ("a.#.b", "a*b"),
        ("#.#", "**"),
        ("[x].?", "\\[x\\].\\?"),
        ("a*b", "a\\*b"),
        ("a#", "a#"),
    ],
)
def test_a_key_becomes_a_glob(key, glob):
    assert redis_glob(key) == glob


@given(st.text(st.sampled_from("ab*?[]\\^-.")), st.text(st.sampled_from("ab*?[]\\^-.")))
def test_an_escaped_text_matches_itself_and_nothing_else(text, other):
    assert redis_delivers(escape_glob(text), text)
    assert redis_delivers(escape_glob(text), other) is (text == other)


#: Exchanges, keys, whether a channel is of a key; names, patterns, and whether there are copies.
# fmt: off
TOPICS = [
    # A key without wildcards names one channel; what is odd in an exchange stands for itself.
    (["/0.c*"], ["task.*", "worker.heartbeat", "a*b"], True,
     ["/0.c*/worker.heartbeat", "/0.c*/a*b"], ["/0.c\\*/task.*"], False),
    (["/0.ev[1]"], ["#"], True, [], ["/0.ev\\[1\\]/*"], False),
    # Without fanout patterns there is one channel.
    (["/0.cel?ry"], ["task.*", "worker.*"], False, ["/0.cel?ry"], [], False),
    # Two prefixes make two channels of each.
    (["/0.ev", "/{db}.ev"], ["#"], True, [], ["/0.ev/*", "/{db}.ev/*"], True),
    (["/0.ev", "/{db}.ev"], ["#"], False, ["/0.ev", "/{db}.ev"], [], True),
]
# fmt: on


@pytest.mark.parametrize(("exchanges", "keys", "by_key", "names", "patterns", "copies"), TOPICS)
def test_keys_become_channels_and_patterns(exchanges, keys, by_key, names, patterns, copies):
    assert redis_topics(exchanges, keys, by_key=by_key) == (names, patterns, copies)
