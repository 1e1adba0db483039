import pytest

from evtools.errors import UsageError
from evtools.top.session import OwnCost
from evtools.top.ui.widgets import Choice, Editor, Prompt, closed
from tools.clock import FakeClock


@pytest.fixture
def session(busy):
    return busy.session


# --- contexts -------------------------------------------------------------------


def test_keys_mean_what_the_view_and_the_focus_make_of_them(busy, session):
    assert session.contexts() == ("lists", "moving", "everywhere")
    session.show("workers")
    assert session.contexts()[0] == "workers"
    busy.press("p")
    assert session.contexts()[:2] == ("workers", "paused")
    session.show("tasks")
    session.open_detail()
    assert session.contexts() == ("paused", "lists", "moving", "text", "everywhere")
    session.detail.focused = True
    assert session.contexts()[0] == "text"


# --- messages -------------------------------------------------------------------


def test_a_message_is_sanitised_and_goes_after_a_while(busy, session):
    session.say("a\x1b[31mb")
    assert busy.message == "a\\x1b[31mb"
    busy.tick(5)
    assert busy.message
    busy.tick(5)
    assert session.message is None


def test_an_error_of_a_choice_is_a_message_too(busy, session):
    def fail():
        raise UsageError("refused")

    session.menu("m", [Choice("fail", fail)])
    busy.press("enter")
    assert busy.message == "refused"
    assert not session.layers


# --- layers ---------------------------------------------------------------------


def test_the_layer_on_top_takes_the_keys(busy, session):
    session.menu("m", [Choice("x", closed)])
    session.layers.append(Prompt("> ", lambda _: closed, Editor()))
    busy.write("q")
    assert session.layer.text == "q"
    busy.press("enter")
    busy.press("q")
    assert not session.layers
    assert busy.host.calls == []


def test_pasted_text_goes_into_prompts_and_nowhere_else(busy, session):
    session.paste("CyQ")
    assert "pasted into prompts only" in busy.message
    assert busy.control.submitted == []
    session.layers.append(Prompt("> ", lambda _: closed, Editor()))
    session.paste("state: fail\r\x1bQ")
    assert session.layer.text == "state: failQ"


def test_a_key_without_a_meaning_does_nothing(busy):
    before = busy.text
    busy.press("f12", "ctrl-_")
    assert busy.text == before


def test_recovering_closes_everything(session):
    session.open_detail()
    session.menu("m", [Choice("x", closed)])
    session.recover()
    assert session.layers == []
    assert session.detail is None


# --- detail ---------------------------------------------------------------------


def test_the_detail_follows_the_cursor(busy, session):
    session.open_detail()
    assert session.detail.key == session.table.focus_key
    busy.press("j")
    assert session.detail.key == session.table.focus_key == "bbbb2222"


def test_the_detail_stays_when_its_row_is_filtered_away(busy, session):
    session.open_detail()
    busy.command("filter state:retry")
    assert session.detail.key == "cccc3333"
    assert "proj.slow cccc3333" in busy.text


# --- views ----------------------------------------------------------------------


def test_a_drill_down_comes_back_to_the_row_it_began_at(busy, session):
    session.table.set_filter("state:ok,fail")
    busy.press("j")
    before = session.table.focus_key
    session.show("types")
    busy.press("j")
    key = session.table.focus_key
    session.drill("tasks", "name:proj.*")
    assert session.view == "tasks"
    assert session.table.filter_text == "name:proj.*"
    assert session.table.focus_index == 0
    assert session.climb()
    assert session.view == "types"
    assert session.table.focus_key == key
    session.show("tasks")
    assert session.table.filter_text == "state:ok,fail"
    assert session.table.focus_key == before
    assert not session.climb()


def test_a_drill_down_leaves_the_other_view_at_its_first_row(busy, session):
    session.show("types")
    session.drill("tasks", "name:proj.*")
    busy.press("j")
    session.climb()
    session.show("tasks")
    assert session.table.focus_index == 0


def test_a_drill_down_that_fails_leaves_no_trail(session):
    with pytest.raises(UsageError):
        session.drill("tasks", "state:nowhere")
    assert session.trail == []


def test_another_model_keeps_how_things_are_shown(busy, session):
    old = session.model
    session.table.set_filter("state:fail,ok")
    session.table.sort_by("name")
    session.table.invert()
    session.table.choose_columns(["name", "state"])
    busy.press("j")
    key = session.table.focus_key
    fresh = type(old)(clock=busy.clock, connection=busy.connection)
    session.replace(fresh)
    assert session.model is fresh
    life = busy.life
    busy.take(life.failure("aaaa1111", "proj.charge"), life.success("bbbb2222", "proj.add"))
    table = session.table
    assert table.filter_text == "state:fail,ok"
    assert (table.sort_key, table.reverse) == ("name", True)
    assert table.chosen == ("name", "state")
    assert table.focus_key == key


# --- what evtop costs -------------------------------------------------------------


def test_the_share_of_a_cpu_is_measured_between_two_looks(monkeypatch):
    used = [10.0]
    monkeypatch.setattr("evtools.top.session.time.process_time", lambda: used[0])
    clock = FakeClock()
    cost = OwnCost(clock)
    assert cost.cpu == 0.0
    clock.now += 2
    used[0] += 0.5
    cost.look()
    assert cost.cpu == 0.25
    used[0] += 9
    cost.look()
    assert cost.cpu == 0.25


@pytest.mark.parametrize("content", [None, "", "1 x"])
def test_memory_is_known_where_the_system_does_not_say(monkeypatch, tmp_path, content):
    assert 1 << 20 < OwnCost(FakeClock()).bytes < 1 << 40
    path = tmp_path / "statm"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("evtools.top.session.Path", lambda _: path)
    most = OwnCost(FakeClock()).bytes
    assert most > 1 << 20
    monkeypatch.setattr("evtools.top.session.sys.platform", "darwin")
    assert OwnCost(FakeClock()).bytes * 1024 >= most
