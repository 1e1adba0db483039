from evtools.state.statistics import OTHERS, UNKNOWN
from evtools.state.statistics.failures import WORKERS_MAX
from tools.watched import Watched


def groups(watched, window="5m"):
    rows = watched.statistics.failures(window, watched.now)
    return {(row.task, row.exception, row.message): row for row in rows}


def fail(watched, uuid, exception, **fields):
    watched.tell("received", uuid, name=fields.pop("name", "t"))
    watched.tell("failed", uuid, exception=exception, **fields)


def test_failures_that_differ_in_numbers_are_one_group(watched):
    started = watched.now
    fail(watched, "u1", "E('no order 1')", host="w1")
    fail(watched, "u2", "E('no order 22')", host="w2", after=10)
    (group,) = groups(watched).values()
    assert (group.task, group.exception, group.message) == ("t", "E", "no order *")
    assert group.count == 2
    assert group.rate == 0.2
    assert (group.first, group.last) == (started, started + 10)
    assert group.workers == {"w1", "w2"}
    assert (group.uuid, group.sample) == ("u2", "E('no order 22')")


def test_tasks_and_words_tell_groups_apart(watched):
    fail(watched, "u1", "E('a')")
    fail(watched, "u2", "E('b')")
    fail(watched, "u3", "E('a')", name="other")
    fail(watched, "u4", "E('a')", name=None)
    assert set(groups(watched)) == {
        *{("t", "E", "a"), ("t", "E", "b"), ("other", "E", "a")},
        (UNKNOWN, "E", "a"),
    }


def test_a_group_leaves_the_window_with_its_failures(watched):
    fail(watched, "u1", "E('a')")
    first = watched.now
    fail(watched, "u2", "E('b')", after=100)
    assert {row.message for row in groups(watched, "1m").values()} == {"b"}
    fail(watched, "u3", "E('a')", after=100)
    group = groups(watched, "1m")["t", "E", "a"]
    assert (group.count, group.first) == (1, first)


def test_odd_fields_are_survived(watched):
    watched.tell("failed", "u1", exception=["x"], traceback={"a": 1}, host=None)
    (group,) = groups(watched).values()
    assert (group.exception, group.sample, group.workers) == ("", "['x']", frozenset())


def test_texts_are_cut(watched):
    fail(watched, "u" * 10_000, "E('" + "x" * 10_000, traceback="y" * 10_000)
    (group,) = groups(watched).values()
    assert max(len(group.uuid), len(group.sample), len(group.message)) <= 500


def test_the_workers_of_a_group_are_bounded(watched):
    watched.state.max_workers_in_memory = 1000
    for number in range(WORKERS_MAX + 5):
        fail(watched, f"u{number}", "E()", host=f"w{number}")
    assert len(groups(watched)["t", "E", ""].workers) == WORKERS_MAX


def test_groups_beyond_the_bound_are_counted_together():
    watched = Watched(max_groups=2)
    first = watched.now
    for number, letter in enumerate("abcd"):
        fail(watched, f"u{number}", f"E('{letter}')", after=10 if number else 0)
    found = groups(watched)
    assert set(found) == {("t", "E", "c"), ("t", "E", "d"), (OTHERS, "", "")}
    others = found[OTHERS, "", ""]
    assert others.count == 2
    assert (others.first, others.last) == (first, first + 10)
    assert len(watched.statistics._failures._samples) == 2


def test_samples_weigh_something(watched):
    before = watched.statistics._failures.weight_bytes()
    fail(watched, "u1", "E('a')")
    assert watched.statistics._failures.weight_bytes() > before
