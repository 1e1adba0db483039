import pytest

from evtools.top.keymap import Keymap
from evtools.top.widgets.dialog import Dialog
from evtools.top.widgets.layer import nothing
from evtools.top.widgets.line import plain

KEYMAP = Keymap()


def press(dialog, *keys):
    outcome = None
    for key in keys:
        outcome = dialog.press(key, KEYMAP.find(key, dialog.contexts))
    return outcome


def yes():
    """Stand for what is confirmed."""


@pytest.fixture
def dialog():
    return Dialog("Revoke", ["proj.charge 7a8b8d37", "It will not start."], yes)


@pytest.fixture
def severe():
    return Dialog("Shut down", ["w3@host"], yes, word="w3@host")


def shown(dialog, size=(60, 20)):
    return [plain(line) for line in dialog.box(size).lines]


def test_it_names_its_target_and_stands_on_no(dialog):
    lines = shown(dialog)
    assert "proj.charge 7a8b8d37" in lines
    assert lines[-1].startswith("[No]  [Yes]")
    assert dialog.box((60, 20)).lines[-1][0] == ("selected", "[No]")


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        (["y"], yes),
        (["enter"], nothing),
        (["n"], nothing),
        (["esc"], nothing),
        (["q"], nothing),
        (["ctrl-c"], nothing),
        (["right", "enter"], yes),
        (["tab", "enter"], yes),
        (["left", "right", "enter"], nothing),
        (["x"], None),
        (["Y"], None),
    ],
)
def test_only_y_or_the_other_button_confirms(dialog, keys, outcome):
    assert press(dialog, *keys) is outcome


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        ([*"w3@host", "enter"], yes),
        ([*"w3@hos", "enter"], nothing),
        (["enter"], nothing),
        (["y"], None),
        (["y", "enter"], nothing),
        ([*"w3@host", "esc"], nothing),
        ([*"w3@hostx", "backspace", "enter"], yes),
    ],
)
def test_what_is_severe_has_to_be_typed_in_full(severe, keys, outcome):
    assert press(severe, *keys) is outcome


def test_what_is_typed_is_shown_where_the_cursor_is(severe):
    press(severe, "w", "3")
    box = severe.box((60, 20))
    column, row = box.cursor
    assert plain(box.lines[row]) == "type it: w3"
    assert column == len("type it: w3")
    assert "Type w3@host to go on." in shown(severe)


def test_long_texts_are_wrapped(dialog):
    long = Dialog("t", ["x" * 100], yes)
    assert max(map(len, shown(long, (44, 20)))) <= 40
