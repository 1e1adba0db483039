import pytest

from evtools.top.keymap import Keymap
from evtools.top.widgets.editor import Editor
from evtools.top.widgets.layer import nothing
from evtools.top.widgets.prompt import Prompt

KEYMAP = Keymap()


def press(prompt, *keys):
    outcome = None
    for key in keys:
        outcome = prompt.press(key, KEYMAP.find(key, prompt.contexts))
    return outcome


@pytest.fixture
def log():
    return []


@pytest.fixture
def prompt(log):
    def accepted(text):
        log.append(("accepted", text))
        return text != "bad"

    return Prompt(
        "filter> ",
        Editor("", complete=lambda _: (0, ["bad", "base"])),
        accepted,
        changed=lambda text: log.append(("changed", text)),
        cancelled=lambda: log.append(("cancelled", "")),
    )


def test_every_change_is_told(prompt, log):
    press(prompt, "a", "space", "b", "left", "backspace", "up")
    assert log == [("changed", text) for text in ("a", "a ", "a b", "ab")]


def test_enter_accepts_and_what_is_not_good_keeps_it_open(prompt, log):
    assert press(prompt, *"bad", "enter") is None
    assert press(prompt, "x", "enter") is nothing
    assert log[-1] == ("accepted", "badx")


@pytest.mark.parametrize("keys", [["esc"], ["a", "ctrl-c"], ["backspace"]])
def test_it_is_left_without_accepting(prompt, log, keys):
    press(prompt, *keys)()
    assert log[-1] == ("cancelled", "")


def test_it_says_what_is_wrong_or_could_be_typed(prompt):
    assert prompt.above(80) == [[("hint", "")]]
    press(prompt, "tab")
    assert prompt.text == "ba"
    assert prompt.above(80) == [[("hint", "bad  base")]]
    prompt.error = [("error", "no such field")]
    assert prompt.above(80) == [[("error", "no such field")]]
    assert prompt.above(9) == [[("error", "no such")], [("error", "field")]]


def test_its_line_has_the_label_the_text_and_the_cursor(prompt):
    press(prompt, "a")
    assert prompt.line(40) == ([("prompt", "filter> "), ("text", "a")], 9)
    assert prompt.box((80, 24)) is None


def test_keys_without_a_meaning_type_nothing(prompt, log):
    press(prompt, "f12", "pgdn")
    assert log == []
