import pytest


def menu(terminal):
    """Return the texts of the menu that is open."""
    layer = terminal.session.layer
    return ["".join(text for _, text in line) for line in layer.box((100, 40)).lines]


# --- filter -----------------------------------------------------------------------


def test_a_filter_can_be_given_at_once(terminal, table):
    terminal.command("filter state:fail")
    assert len(table) == 8
    terminal.command("filter statte:fail")
    assert 'did you mean "state"?' in terminal.message or "state" in terminal.message
    assert table.filter_text == "state:fail"


def test_a_value_of_the_row_is_kept_or_excluded(terminal, table):
    terminal.press("=")
    assert any("name proj.task0" in line for line in menu(terminal))
    terminal.press("n")
    assert len(table) == 14
    terminal.press("!", "s")
    assert "NOT state" in table.filter_text
    assert terminal.session.history.lines("filter")[-1] == table.filter_text


def test_a_row_without_values_says_so(terminal):
    terminal.command("filter state:retry")
    terminal.press("=")
    assert terminal.message == "this row has no value to filter by"


# --- order ------------------------------------------------------------------------


def test_the_order_is_chosen_from_a_menu(terminal, table):
    terminal.press("o")
    assert any("TASK" in line for line in menu(terminal))
    terminal.press("2")
    assert table.sort_key == "name"


@pytest.mark.parametrize(
    ("command", "key", "reverse"),
    [
        ("sort name", "name", False),
        ("sort -name", "name", True),
        ("sort TASK", "name", False),
        ("sort RUN", "runtime", True),
    ],
)
def test_the_order_can_be_named(terminal, table, command, key, reverse):
    terminal.command(command)
    assert (table.sort_key, table.reverse) == (key, reverse)


def test_a_column_that_does_not_exist_is_told_with_those_that_do(terminal):
    terminal.command("sort weight")
    assert terminal.message.startswith("there is no column weight here (there are ")


def test_the_order_goes_from_column_to_column_and_is_inverted(terminal, table):
    terminal.command("sort name")
    terminal.press(">")
    assert table.sort_key == "uuid"
    terminal.press("<", "<")
    assert table.sort_key == "state"
    before = table.reverse
    terminal.press("I")
    assert table.reverse is not before


def test_a_row_or_the_newest_is_followed(terminal, session):
    terminal.press("j", "F")
    assert terminal.message == "following this row"
    terminal.press("F")
    assert terminal.message == "not following"
    terminal.press("5", "k", "F")
    assert terminal.message == "following the newest"


# --- rows -------------------------------------------------------------------------


def test_marks_are_set_going_down_and_all_taken_away(terminal, table):
    terminal.press("space", "space")
    assert len(table.marks) == 2
    assert table.focus_index == 2
    terminal.press("U")
    assert not table.marks


def test_failures_are_gone_to(terminal, table):
    terminal.press("e")
    assert table.focus_key == "id35"
    terminal.press("e", "E")
    assert table.focus_key == "id35"
    terminal.press("E")
    assert terminal.message == "no failure further up"
    terminal.press("G", "e")
    assert terminal.message == "no failure further down"
    terminal.press("2", "e")
    assert terminal.message.startswith("that is for tasks and events")


def test_the_events_of_a_task_are_gone_to(terminal, session):
    terminal.press("5", "O")
    uuid = session.table.subject(session.table.focus_key)["uuid"]
    assert uuid == "id39"
    terminal.press("O", "O", "O")
    assert terminal.message == "no other event of this task in that direction"
    terminal.press("o", "e", "E")


def test_a_tree_is_for_tasks(terminal, session, table):
    terminal.press("t")
    assert table.tree
    assert terminal.message == "tree"
    terminal.press("t")
    assert terminal.message == "list"
    terminal.press("3", "t")
    assert terminal.message == "that is for tasks (1 shows them)"


def test_nodes_are_closed_and_opened(terminal, table):
    terminal.take(terminal.life.success("root", "proj.root"))
    leaf = terminal.life.success("leaf", "proj.leaf", parent_id="root", root_id="root")
    terminal.take(leaf)
    terminal.press("t")
    table.cursor.to_key("root")
    terminal.press("-")
    assert "leaf" not in table.cursor.keys
    terminal.press("+")
    assert "leaf" in table.cursor.keys
    terminal.press("*")
    assert "leaf" not in table.cursor.keys


def test_the_parent_is_jumped_to_or_it_is_told_why_not(terminal, table):
    terminal.press("J")
    assert terminal.message == "this task has no parent, as far as we know"
    terminal.take(terminal.life.success("root", "proj.root"))
    leaf = terminal.life.success("leaf", "proj.leaf", parent_id="root", root_id="root")
    terminal.take(leaf)
    table.cursor.to_key("leaf")
    terminal.press("J")
    assert table.focus_key == "root"


# --- columns ----------------------------------------------------------------------


def test_columns_are_chosen_by_name_or_title(terminal, table):
    terminal.command("columns name, RUN")
    assert table.chosen == ("name", "runtime")
    terminal.command("columns auto")
    assert table.chosen is None
    terminal.command("columns weight")
    assert terminal.message.startswith("there is no column weight here")
