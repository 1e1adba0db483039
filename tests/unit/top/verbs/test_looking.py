import pytest

from evtools.top.choices import THEMES, VIEWS
from tools.screen import FakeTerminal


def shown(terminal):
    layer = terminal.session.layer
    return ["".join(text for _, text in line) for line in layer.box((100, 60)).lines]


# --- views ------------------------------------------------------------------------


def test_each_digit_shows_a_view(terminal, session):
    for number, view in enumerate(VIEWS, 1):
        terminal.press(str(number))
        assert session.view == view
        assert f"[{number} " in terminal.text


def test_a_view_is_named_and_perhaps_filtered(terminal, session):
    terminal.command("view types name:proj.task1")
    assert session.view == "types"
    assert session.table.filter_text == "name:proj.task1"
    terminal.command("view errors /exc:x")
    assert session.table.filter_text.startswith("exc:x") or terminal.message
    terminal.command("view nowhere")
    assert "there is no view nowhere" in terminal.message


def test_tab_goes_through_the_views_or_between_table_and_detail(terminal, session):
    terminal.press("tab", "tab", "shift-tab")
    assert session.view == "types"
    terminal.press("shift-tab", "shift-tab")
    assert session.view == "errors"
    terminal.press("1", "enter", "tab")
    assert session.detail.focused
    terminal.press("tab")
    assert not session.detail.focused
    terminal.size = (80, 24)
    terminal.press("tab")
    assert session.view == "tasks"


# --- in and out -------------------------------------------------------------------


def test_enter_opens_the_detail_of_a_task_and_the_tasks_of_a_type(terminal, session):
    terminal.press("enter")
    assert session.detail is not None
    terminal.press("2", "enter")
    assert session.view == "tasks"
    assert "proj.task" in session.table.filter_text


def test_i_opens_the_detail_of_any_row_and_r_its_result(terminal, session):
    terminal.press("2", "i")
    assert session.view == "types"
    assert session.detail is not None
    terminal.press("1", "r")
    assert session.detail.section in ("Args", "Info")


def test_enter_does_not_leave_what_is_being_read(terminal, session):
    terminal.press("2", "i", "tab", "enter")
    assert session.view == "types"


def test_q_goes_back_step_by_step_and_quits_at_last(terminal, session):
    terminal.press("2", "enter", "enter")
    for state in ("detail closed", "back in types", "quit"):
        terminal.press("q")
        if state == "detail closed":
            assert (session.detail, session.view) == (None, "tasks")
        elif state == "back in types":
            assert session.view == "types"
            assert terminal.host.calls == []
    assert terminal.host.calls == ["end"]


def test_escape_closes_unmarks_and_clears_and_never_quits(terminal, session, table):
    terminal.command("filter state:ok")
    terminal.press("space", "enter")
    for _ in range(6):
        terminal.press("esc")
        if session.detail is None and not table.marks:
            break
    assert table.filter_text == "state:ok" or not table.filter_text
    terminal.press("esc", "esc")
    assert table.filter_text == ""
    session.say("note")
    terminal.press("esc", "esc")
    assert terminal.message == ""
    assert terminal.host.calls == []


def test_each_escape_undoes_one_thing(terminal, session, table):
    terminal.command("filter state:ok")
    terminal.press("space", "enter", "esc")
    assert (session.detail, len(table.marks)) == (None, 1)
    terminal.press("esc")
    assert (table.marks, table.filter_text) == (set(), "state:ok")
    terminal.press("esc")
    assert table.filter_text == ""


@pytest.mark.parametrize("key", ["Q", "ctrl-c"])
def test_quitting_is_at_once(terminal, key):
    terminal.press("2", "enter", "enter", key)
    assert terminal.host.calls == ["end"]


@pytest.fixture
def watched_long():
    """Return a terminal on which evtop has watched for seven minutes."""
    made = FakeTerminal(asks_after=300.0)
    made.take(made.life.success("t"))
    made.tick()
    assert made.host.calls == []
    made.clock.now += 420
    return made


@pytest.mark.parametrize("key", ["q", "Q", "y", "enter", "ctrl-c"])
def test_what_took_long_to_gather_goes_with_a_second_key_only(watched_long, key):
    watched_long.press("q")
    assert "It has watched for 7m" in watched_long.text
    assert "What it knows of 1 task will be lost." in watched_long.text
    assert watched_long.host.calls == []
    watched_long.press(key)
    assert watched_long.host.calls == ["end"]


@pytest.mark.parametrize("key", ["n", "esc"])
def test_evtop_goes_on_if_it_is_not_to_be_left(watched_long, key):
    watched_long.press("q", key)
    assert watched_long.host.calls == []
    assert "quit evtop?" not in watched_long.text
    watched_long.press("q", "left", "enter")
    assert watched_long.host.calls == []


@pytest.mark.parametrize("keys", ["Q", "ctrl-c", ":q", ":q!"])
def test_who_wants_to_leave_at_once_does(watched_long, keys):
    if keys.startswith(":"):
        watched_long.command(keys[1:])
    else:
        watched_long.press(keys)
    assert watched_long.host.calls == ["end"]


def test_nothing_is_asked_for_the_first_minutes_or_where_nothing_came():
    terminal = FakeTerminal(asks_after=300.0)
    terminal.clock.now += 299
    terminal.take(terminal.life.success("t"))
    terminal.press("q")
    assert terminal.host.calls == ["end"]
    silent = FakeTerminal(asks_after=300.0)
    silent.clock.now += 5000
    silent.press("q")
    assert silent.host.calls == ["end"]


# --- help -------------------------------------------------------------------------


def test_the_help_is_about_where_one_is(terminal, session):
    terminal.press("3", "?")
    assert "WORKERS" in shown(terminal)
    terminal.press("esc", "1", "f1")
    assert "WORKERS" not in shown(terminal)


# --- options ----------------------------------------------------------------------


def test_the_window_goes_round_or_is_named(terminal, session):
    terminal.press("T")
    assert session.model.options.window == "15m"
    assert terminal.message == "figures of the last 15m"
    terminal.command("window all")
    assert terminal.message == "all figures"
    terminal.press("T")
    assert session.model.options.window == "1m"
    terminal.command("window 7m")
    assert terminal.message.startswith("7m is no window (there are 1m, 5m")


def test_times_are_ages_or_times_of_day(terminal, session):
    terminal.press("z")
    assert session.model.options.time_style == "local"
    terminal.command("time utc")
    assert "00:16:4" in terminal.text or "00:16:5" in terminal.text
    terminal.press("z")
    assert session.model.options.time_style == "age"


def test_themes_are_changed_at_once(terminal, session):
    terminal.command("theme")
    terminal.command("theme mono")
    assert terminal.host.themes == [THEMES[1], "mono"]
    assert session.model.options.theme == "mono"
    terminal.command("theme neon")
    assert "neon is no theme" in terminal.message


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("500ms", 0.5), ("0.01", 0.2)])
def test_the_refresh_has_a_floor(terminal, session, text, seconds):
    terminal.command(f"refresh {text}")
    assert session.model.options.refresh == seconds


def test_a_refresh_that_is_no_time_is_told(terminal):
    terminal.command("refresh soon")
    assert "invalid duration" in terminal.message


def test_ascii_is_switched(terminal, session):
    terminal.command("ascii on")
    assert session.glyphs.ascii
    assert session.model.options.ascii
    assert "▁" not in terminal.text
    terminal.command("ascii")
    assert terminal.host.ascii == [True, False]


def test_the_mouse_is_switched(terminal):
    terminal.press("M")
    assert terminal.message == "mouse on; hold Shift to select text"
    terminal.press("M")
    assert terminal.message == "mouse off"
    assert terminal.host.mouse == [True, False]


def test_options_can_be_set_by_name(terminal, session):
    terminal.command("set theme cb")
    assert session.model.options.theme == "cb"
    terminal.command("set refresh=3")
    assert session.model.options.refresh == 3.0
    terminal.command("set colour red")
    assert terminal.message.startswith("there is no option colour")


def test_the_menu_of_options_shows_them_and_stays_open(terminal, session):
    terminal.press("f2")
    assert any("theme    dark" in line for line in shown(terminal))
    terminal.press("t", "r", "w", "z", "a", "m")
    lines = "\n".join(shown(terminal))
    assert "theme    light" in lines
    assert "refresh  2s" in lines
    assert "window   15m" in lines
    assert "times    local" in lines
    assert "ASCII    on" in lines
    assert "mouse    on" in lines
    terminal.press("r", "r")
    assert session.model.options.refresh == 0.2
    terminal.press("esc")
    assert session.layer is None


def test_columns_are_chosen_from_a_menu(terminal, session, table):
    before = [slot.column.name for slot in table.slots]
    terminal.press("f2", "c")
    assert any("[x] TASK" in line for line in shown(terminal))
    terminal.press("3")
    assert table.chosen == tuple(name for name in before if name != "uuid")
    terminal.press("3")
    assert "uuid" in table.chosen


# --- the terminal -----------------------------------------------------------------


def test_redraw_and_suspend_are_the_hosts(terminal):
    terminal.press("ctrl-l", "ctrl-z")
    assert terminal.host.calls == ["redraw", "suspend"]
