import pytest

from tools.screen import FakeTerminal


@pytest.fixture
def desk(terminal):
    return terminal.desk


def dialog(terminal):
    layer = terminal.session.layer
    return ["".join(text for _, text in line) for line in layer.box((100, 40)).lines]


@pytest.mark.parametrize("keys", [["C", "y"], ["C", "right", "enter"]])
def test_a_task_is_revoked_after_it_was_confirmed(terminal, desk, keys):
    terminal.press(*keys)
    (request,) = desk.submitted
    assert request.action.name == "revoke"
    assert request.targets == ("id39",)
    assert terminal.message.endswith("sent ...")


@pytest.mark.parametrize("keys", [["enter"], ["n"], ["esc"], ["q"], ["ctrl-c"]])
def test_no_is_what_happens_otherwise(terminal, desk, keys):
    terminal.press("C", *keys)
    assert desk.submitted == []
    assert terminal.session.layer is None


def test_the_dialog_names_the_target_its_state_and_the_consequence(terminal):
    terminal.press("C")
    lines = "\n".join(dialog(terminal))
    assert "proj.task0 id39 on w1@host, SUCCESS" in lines
    assert "If it runs already, it goes on." in lines


def test_the_target_is_that_of_the_key_press(terminal, session, desk):
    terminal.press("C")
    terminal.take(terminal.life.success("newest", "proj.other"))
    assert session.table.focus_key == "newest"
    terminal.press("y")
    assert desk.submitted[0].targets == ("id39",)


def test_for_many_their_count_has_to_be_typed(terminal, desk):
    terminal.press("space", "space", "C")
    assert "Type 2 to go on." in dialog(terminal)
    terminal.press("y", "enter")
    assert desk.submitted == []
    terminal.press("C", "2", "enter")
    assert set(desk.submitted[0].targets) == {"id39", "id38"}


def test_of_very_many_targets_some_are_named(terminal):
    terminal.press(*(["space"] * 9), "C")
    assert "and 4 more" in dialog(terminal)


def test_a_termination_asks_for_the_signal(terminal, desk):
    terminal.press("K")
    assert "SIGTERM" in dialog(terminal)[0]
    terminal.press("2")
    assert "signal: SIGKILL" in dialog(terminal)
    terminal.press("y")
    assert desk.submitted[0].values == {"signal": "SIGKILL"}


def test_a_rate_is_asked_for_until_it_is_one(terminal, desk):
    terminal.press("L")
    assert terminal.lines()[-1].startswith("rate>")
    assert "10/s, 100/m or 5/h" in terminal.lines()[-2]
    terminal.write("fast")
    terminal.press("enter")
    assert "is no rate" in terminal.lines()[-2]
    terminal.press("ctrl-u")
    terminal.write("10/m")
    terminal.press("enter", "y")
    (request,) = desk.submitted
    assert request.targets == ("proj.task0",)
    assert request.values == {"rate_limit": "10/m"}


def test_leaving_a_question_leaves_everything(terminal, desk):
    terminal.press("L", "esc")
    assert terminal.session.layer is None
    assert desk.submitted == []


def test_answers_that_contradict_each_other_are_refused(terminal, desk):
    terminal.command("time-limit")
    terminal.write("2m")
    terminal.press("enter")
    terminal.write("1m")
    terminal.press("enter")
    assert "soft limit must be shorter" in terminal.message
    assert desk.submitted == []


def test_no_limit_is_shown_as_none(terminal):
    terminal.command("time-limit")
    terminal.press("enter")
    terminal.write("1m")
    terminal.press("enter")
    assert "soft limit: none" in dialog(terminal)


# --- workers ----------------------------------------------------------------------


@pytest.fixture
def workers(terminal):
    terminal.take(terminal.life.beat("w1@host"))
    terminal.press("3")
    return terminal


def test_a_worker_is_shut_down_after_its_name_was_typed(workers, desk):
    workers.press("S")
    assert "Type w1@host to go on." in dialog(workers)
    workers.write("w1@host")
    workers.press("enter")
    assert desk.submitted[0].action.name == "shutdown"


def test_what_changes_nothing_is_not_asked_about(workers, desk):
    workers.command("ping")
    assert desk.submitted[0].action.name == "ping"
    assert workers.session.layer is None


# --- the menu ---------------------------------------------------------------------


def test_the_menu_has_what_can_be_done_here(terminal, desk):
    terminal.press("a")
    lines = dialog(terminal)
    assert any("Revoke and terminate  (id39)" in line for line in lines)
    assert any("Limit the rate  (proj.task0)" in line for line in lines)
    assert not any("Shut down" in line for line in lines)
    terminal.press("C", "y")
    assert desk.submitted[0].action.name == "revoke"


def test_the_menu_counts_the_marks(terminal):
    terminal.press("space", "space", "space", "a")
    assert any("Revoke  (3 tasks)" in line for line in dialog(terminal))


def test_an_action_can_be_named(terminal, desk):
    terminal.command("actions revoke")
    terminal.press("y")
    assert desk.submitted
    terminal.command("actions dance")
    assert terminal.message == "there is no action dance"


def test_an_action_for_other_views_is_refused(terminal):
    terminal.command("shutdown")
    assert terminal.message == "Shut down is not for tasks"


def test_nothing_can_be_done_to_no_row(terminal):
    terminal.command("filter state:retry")
    terminal.press("a")
    assert terminal.message == "nothing can be done to this row"
    terminal.press("C")
    assert "there is nothing to do it to" in terminal.message


# --- read-only --------------------------------------------------------------------


@pytest.mark.parametrize("key", ["a", "C", "K", "L"])
def test_in_read_only_mode_nothing_is_even_asked(key):
    terminal = FakeTerminal(read_only=True)
    terminal.take(terminal.life.success("id00"))
    terminal.press(key)
    assert terminal.message.startswith("nothing is changed: read-only mode")
    assert terminal.session.layer is None


def test_a_desk_that_refuses_is_heard(terminal, desk):
    desk.refuses = True
    terminal.press("C", "y")
    assert "read-only mode" in terminal.message
