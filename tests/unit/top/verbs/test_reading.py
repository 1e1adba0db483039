import pytest


@pytest.fixture
def pane(terminal, session):
    """Return the detail of a failure, with the keys going to it."""
    session.table.cursor.to_key("id00")
    terminal.press("enter", "tab")
    return session.detail


def test_a_text_is_searched_and_the_search_goes_on(terminal, pane):
    terminal.press("/")
    assert terminal.lines()[-1] == "search>"
    terminal.write("valueerror")
    terminal.press("enter")
    assert pane.pager.sought == "valueerror"
    assert ("match", "ValueError") in [span for line in terminal.drawing().lines for span in line]
    terminal.press("n", "N")
    assert terminal.message == ""


def test_what_is_not_there_is_not_found(terminal, pane):
    terminal.command("search nowhere")
    assert terminal.message == "not found: nowhere"
    terminal.press("n")
    assert terminal.message == "not found: nowhere"


def test_nothing_can_be_sought_again_that_was_not_sought(terminal, pane):
    terminal.press("n")
    assert terminal.message.startswith("nothing has been sought")


def test_an_empty_search_changes_nothing(terminal, pane):
    terminal.press("/", "enter")
    assert terminal.message == ""


def test_what_was_sought_before_can_be_had_again(terminal, session, pane):
    terminal.command("search Traceback")
    terminal.press("/", "up")
    assert session.layer.text == "Traceback"


def test_lines_are_wrapped_or_cut(terminal, pane):
    terminal.press("w")
    assert not pane.pager.wrap
    assert terminal.message == "long lines are cut"
    terminal.press("w")
    assert terminal.message == "long lines are wrapped"


def test_the_detail_can_have_the_whole_screen(terminal, session):
    terminal.press("enter", "f")
    assert session.detail.full
    assert session.detail.focused
    terminal.lines()
    assert not session.table_shown
    terminal.press("f")
    terminal.lines()
    assert session.table_shown


def test_sections_are_turned(terminal, pane):
    before = pane.section
    terminal.press("]")
    assert pane.section != before
    terminal.press("[")
    assert pane.section == before


@pytest.mark.parametrize("command", ["search x", "search-next", "wrap", "full"])
def test_without_a_detail_there_is_nothing_to_read(terminal, command):
    terminal.command(command)
    assert terminal.message == "there is no detail to read (Enter opens it)"
