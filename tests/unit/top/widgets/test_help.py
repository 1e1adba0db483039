import pytest

from evtools.top.bindings import BINDINGS
from evtools.top.keymap import Keymap
from evtools.top.widgets.help import Help
from evtools.top.widgets.layer import nothing
from evtools.top.widgets.line import plain

KEYMAP = Keymap()
TALL = (100, 200)


def press(layer, *keys):
    outcome = None
    for key in keys:
        outcome = layer.press(key, KEYMAP.find(key, layer.contexts))
    return outcome


@pytest.fixture
def layer():
    return Help(KEYMAP, ("lists", "moving", "everywhere"))


def shown(layer, size=TALL):
    return [plain(line) for line in layer.box(size).lines]


def test_it_has_every_key_of_the_contexts(layer):
    text = "\n".join(shown(layer))
    for binding in BINDINGS:
        asked = binding.context in ("lists", "moving", "everywhere")
        assert (f"  {binding.help}" in text) or not asked
    assert "LISTS" in text
    assert "WORKERS" not in text


def test_typing_leaves_what_has_the_text(layer):
    press(layer, *"sort")
    lines = shown(layer)
    assert lines[0] == "find> sort"
    assert any("choose the column to sort by" in line for line in lines)
    assert not any("pause" in line for line in lines)
    press(layer, "backspace", "backspace", "backspace", "backspace")
    assert any("pause" in line for line in shown(layer))
    press(layer, *"zzzz")
    assert "no key, command or help has this text" in shown(layer)


@pytest.mark.parametrize("key", ["esc", "ctrl-c", "enter", "q"])
def test_it_closes(layer, key):
    assert press(layer, key) is nothing


def test_q_is_a_letter_once_something_is_typed(layer):
    assert press(layer, "e", "q") is None
    assert shown(layer)[0] == "find> eq"


def test_it_scrolls_where_there_is_no_room_for_all(layer):
    top = shown(layer, (80, 20))
    press(layer, "down")
    assert shown(layer, (80, 20))[1] == top[2]
    press(layer, "pgdn")
    assert shown(layer, (80, 20))[1] not in top
    press(layer, "up", "pgup")
    assert shown(layer, (80, 20)) == top


def test_the_cursor_is_where_one_types(layer):
    press(layer, *"ab")
    assert layer.box(TALL).cursor == (len("find> ab"), 0)
    press(layer, "left")
    assert layer.box(TALL).cursor == (len("find> a"), 0)
    assert layer.press("f12", None) is None
