import pytest

from evtools.errors import FilterError
from evtools.filters import compile_filter
from evtools.top.verbs.filtering import expanded


def above(terminal):
    return terminal.lines()[-2]


def test_the_table_is_filtered_while_one_types_and_not_for_every_key(terminal, table):
    terminal.press("/")
    terminal.write("state:fail")
    assert table.filter_text == ""
    assert [seconds for seconds, _ in terminal.host.timers] == [0.15]
    terminal.host.ring()
    assert len(table) == 8
    terminal.press("enter")
    assert table.filter_text == "state:fail"
    assert terminal.session.layer is None


def test_enter_does_not_wait(terminal, table):
    terminal.press("/")
    terminal.write("state:fail")
    terminal.press("enter")
    assert len(table) == 8
    assert terminal.host.timers == []
    terminal.press("/", "enter")
    assert table.filter_text == "state:fail"


@pytest.mark.parametrize("key", ["esc", "ctrl-c"])
def test_leaving_the_prompt_restores_the_filter_before(terminal, table, key):
    terminal.command("filter state:ok")
    terminal.press("/", "ctrl-u")
    terminal.write("state:fail")
    terminal.host.ring()
    assert len(table) == 8
    terminal.press(key)
    assert table.filter_text == "state:ok"


def test_a_mistake_keeps_the_last_good_filter_and_is_pointed_at(terminal, table):
    terminal.press("/")
    terminal.write("state:fail")
    terminal.host.ring()
    terminal.write(" AND (")
    terminal.host.ring()
    assert len(table) == 8
    terminal.press("enter")
    assert terminal.session.layer is not None
    mark = above(terminal).index("^")
    assert terminal.lines()[-1][mark - 1 : mark + 1].strip() in ("(", "")
    terminal.press("ctrl-u")
    terminal.host.ring()
    assert "^" not in above(terminal)


def test_a_mistake_far_out_is_told_without_pointing(terminal):
    terminal.press("/")
    terminal.write("name:" + "x" * 60 + " statte:fail")
    terminal.press("enter")
    assert "^" not in above(terminal)
    assert 'unknown field "statte"' in "\n".join(terminal.lines())


@pytest.mark.parametrize("typed", ["user_id=42", "time>5", "name startswith(x)"])
def test_advice_is_not_cut_off(terminal, typed):
    terminal.size = (80, 24)
    terminal.press("/")
    terminal.write(typed)
    terminal.press("enter")
    with pytest.raises(FilterError) as caught:
        compile_filter(typed)
    shown = " ".join(" ".join(terminal.lines()).split())
    assert f"{caught.value.message} {caught.value.hint}" in shown
    terminal.press("esc")
    terminal.command(f"filter {typed}")
    shown = " ".join(" ".join(terminal.lines()).split())
    assert f"{caught.value.message} ({caught.value.hint})" in shown


def test_filters_have_a_history(terminal, session):
    terminal.command("filter state:fail")
    terminal.command("filter state:ok")
    terminal.press("/", "up", "up")
    assert session.layer.text == "state:fail"


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("wor", "worker:"),
        ("state:ok que", "state:ok queue"),
        ("-rou", "-routing_key:"),
        ("(kwa", "(kwargs:"),
        ("state:o", "state:o"),
    ],
)
def test_names_of_fields_are_completed(terminal, session, text, completed):
    terminal.press("/")
    terminal.write(text)
    terminal.press("tab")
    assert session.layer.text.startswith(completed)


# --- saved filters ----------------------------------------------------------------


def test_a_filter_is_saved_and_used_in_another_one(terminal, session, table):
    terminal.command("filter state:fail OR state:retry")
    terminal.command("filter save bad")
    assert terminal.message == "saved: write @bad in a filter"
    terminal.command("filter @bad name:proj.task0")
    assert table.filter_text == "(state:fail OR state:retry) name:proj.task0"
    terminal.press("/", "ctrl-u")
    terminal.write("@b")
    terminal.press("tab")
    assert session.layer.text == "@bad"


def test_nothing_cannot_be_saved(terminal):
    terminal.command("filter save bad")
    assert terminal.message == "there is no filter to save"


def test_a_name_under_which_nothing_was_saved_is_a_mistake(terminal, session):
    with pytest.raises(FilterError) as caught:
        expanded(session, "state:ok @none")
    assert (caught.value.position, caught.value.length) == (9, 5)
    assert ":filter save" in caught.value.hint
    session.history.save("bad", "state:fail")
    with pytest.raises(FilterError) as caught:
        expanded(session, "@none")
    assert caught.value.hint == "there are @bad"


@pytest.mark.parametrize("text", ["worker:w1@host", "worker=@host", '"@none"', "a@b"])
def test_an_at_sign_inside_of_a_value_is_no_saved_filter(session, text):
    assert expanded(session, text) == text


def test_what_a_filter_cannot_see_is_told_once(terminal):
    terminal.command("filter -has:queue")
    terminal.command("filter eta>14:30")
    assert terminal.message
