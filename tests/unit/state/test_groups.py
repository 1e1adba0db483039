"""Groups: a mapping that is made when asked for, and a call that is passed on."""

from evtools.state import Task
from evtools.state.groups import Groups


def tasks(**names):
    return [Task(uuid, name=name) for uuid, name in names.items()]


def groups_of(tasks):
    calls = []

    def call(name, limit, reverse):
        calls.append((name, limit, reverse))
        return iter([("u", name)])

    return Groups(tasks, lambda task: task.name, call), calls


def test_tasks_are_in_the_group_of_their_key():
    a1, b1, a2 = tasks(a1="a", b1="b", a2="a")
    groups, _ = groups_of([a1, b1, a2])
    assert dict(groups) == {"a": {a1, a2}, "b": {b1}}
    assert len(groups) == 2
    assert "a" in groups


def test_what_has_no_key_is_in_no_group():
    groups, _ = groups_of(tasks(u=None))
    assert len(groups) == 0
    assert None not in groups


def test_a_group_of_nothing_is_empty_and_is_not_made():
    groups, _ = groups_of(tasks(u="a"))
    assert groups["x"] == set()
    assert "x" not in groups
    assert list(groups) == ["a"]


def test_it_is_kept_until_it_is_reset():
    known = tasks(a1="a")
    groups, _ = groups_of(known)
    assert len(groups["a"]) == 1
    known += tasks(a2="a")
    assert len(groups["a"]) == 1
    groups.reset()
    assert groups["a"] == set(known)


def test_called_it_passes_the_call_on_as_celery_does():
    groups, calls = groups_of([])
    assert list(groups("a")) == [("u", "a")]
    assert list(groups("b", 3, reverse=False)) == [("u", "b")]
    assert calls == [("a", None, True), ("b", 3, False)]
