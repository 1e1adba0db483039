import pytest

from evtools.top.actions import ACTIONS, BY_NAME, actions_for, target_of
from evtools.top.choices import VIEWS
from evtools.top.keymap import BINDINGS


def test_every_action_has_a_name_of_its_own():
    assert len(BY_NAME) == len(ACTIONS)


@pytest.mark.parametrize("view", VIEWS)
def test_no_key_means_two_things_in_the_menu_of_a_view(view):
    keys = [action.key for action in actions_for(view, read_only=False)]
    assert keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("view", VIEWS)
def test_read_only_there_is_nothing_to_do(view):
    assert list(actions_for(view, read_only=True)) == []


def test_actions_are_upper_case():
    assert all(action.key.isupper() for action in ACTIONS)


def test_an_action_on_a_key_of_its_own_has_the_letter_of_the_menu():
    bound = {binding.command: binding.keys for binding in BINDINGS}
    both = bound.keys() & BY_NAME.keys()
    assert both >= {"revoke", "terminate", "rate-limit", "shutdown"}
    assert all(BY_NAME[name].key in bound[name] for name in both)


def test_every_action_says_what_comes_of_it():
    assert all(action.consequence.endswith(".") for action in ACTIONS)


def test_only_what_changes_nothing_is_not_asked_about():
    assert [a.name for a in ACTIONS if a.severity == "mild"] == ["ping"]


def test_what_stops_work_for_good_must_be_typed():
    severe = [action.name for action in ACTIONS if action.severity == "severe"]
    assert severe == ["shutdown", "queue-cancel"]


@pytest.mark.parametrize(
    ("action", "view", "target"),
    [
        ("revoke", "tasks", "KEY"),
        ("rate-limit", "tasks", "proj.add"),
        ("rate-limit", "types", "KEY"),
        ("shutdown", "workers", "KEY"),
        ("queue-cancel", "queues", "KEY"),
        ("revoke", "events", "an-id"),
        ("rate-limit", "errors", "proj.add"),
    ],
)
def test_a_row_says_what_an_action_is_done_to(action, view, target):
    values = {"name": "proj.add", "uuid": "an-id", "worker": "w@h"}
    assert target_of(BY_NAME[action], view, "KEY", values) == target


def test_a_row_that_does_not_say_is_no_target():
    assert target_of(BY_NAME["revoke"], "events", "KEY", {}) is None


@pytest.mark.parametrize("name", ["(others)", "(unknown)"])
def test_what_stands_for_many_or_for_none_is_no_target(name):
    assert target_of(BY_NAME["rate-limit"], "types", name, {}) is None
    assert target_of(BY_NAME["queue-cancel"], "queues", name, {}) is None
    values = {"name": name}
    assert target_of(BY_NAME["rate-limit"], "tasks", "KEY", values) is None


def values_for(action, *texts):
    return {
        argument.name: argument.parse(text)
        for argument, text in zip(BY_NAME[action].arguments, texts, strict=True)
    }


def test_limits_must_fit_together():
    check = BY_NAME["time-limit"].check
    check(values_for("time-limit", "10s", "1m"))
    check(values_for("time-limit", "", "1m"))
    check(values_for("time-limit", "10s", ""))
    with pytest.raises(ValueError, match="must be shorter"):
        check(values_for("time-limit", "1m", "1m"))


def test_a_pool_cannot_have_less_than_the_least():
    check = BY_NAME["autoscale"].check
    check(values_for("autoscale", "4", "0"))
    with pytest.raises(ValueError, match="must not be more"):
        check(values_for("autoscale", "1", "2"))
