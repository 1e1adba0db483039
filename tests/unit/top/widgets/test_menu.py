import pytest

from evtools.top.keymap import Keymap
from evtools.top.widgets.layer import nothing
from evtools.top.widgets.line import plain
from evtools.top.widgets.menu import Choice, Menu

KEYMAP = Keymap()


def press(menu, key):
    return menu.press(key, KEYMAP.find(key, menu.contexts))


@pytest.fixture
def taken():
    return []


@pytest.fixture
def menu(taken):
    choices = [
        Choice("first", lambda: taken.append("first")),
        Choice("second", lambda: taken.append("second"), "q"),
        Choice("only to read", None),
        Choice("third", lambda: taken.append("third")),
    ]
    return Menu("menu", lambda: choices)


def shown(menu, size=(40, 20)):
    return [plain(line) for line in menu.box(size).lines]


def test_each_choice_has_a_key_of_its_own_or_a_digit(menu):
    assert shown(menu) == [">1  first", " q  second", "    only to read", " 2  third"]


@pytest.mark.parametrize(("key", "choice"), [("q", "second"), ("2", "third")])
def test_a_choices_key_takes_it_before_it_means_anything_else(menu, taken, key, choice):
    press(menu, key)()
    assert taken == [choice]


def test_the_cursor_goes_around_and_takes(menu, taken):
    assert press(menu, "k") is None
    assert shown(menu)[3].startswith(">")
    press(menu, "enter")()
    assert press(menu, "down") is None
    press(menu, "enter")()
    assert taken == ["third", "first"]


def test_what_is_only_to_be_read_cannot_be_taken(menu, taken):
    press(menu, "j")
    press(menu, "j")
    assert press(menu, "enter") is None
    assert taken == []


@pytest.mark.parametrize("key", ["esc", "ctrl-c"])
def test_it_closes_without_a_choice(menu, key):
    assert press(menu, key) is nothing


def test_other_keys_do_nothing(menu):
    assert press(menu, "z") is None


def test_pages_stop_at_the_ends():
    menu = Menu("long", lambda: [Choice(f"n{n}", nothing) for n in range(30)])
    assert len(shown(menu, (40, 12))) == 10
    press(menu, "pgdn")
    press(menu, "pgdn")
    press(menu, "pgdn")
    press(menu, "pgdn")
    assert shown(menu, (40, 12))[-1].startswith(">   n29")
    press(menu, "pgup")
    assert any(line.startswith(">   n19") for line in shown(menu, (40, 12)))


def test_a_menu_that_stays_shows_what_a_choice_has_changed():
    values = [0]

    def add():
        values[0] += 1

    menu = Menu("options", lambda: [Choice(f"value {values[0]}", add)], stays=True)
    assert press(menu, "1") is None
    assert shown(menu) == [">1  value 1"]


def test_an_empty_menu_can_only_be_closed():
    menu = Menu("none", list)
    assert shown(menu) == []
    assert press(menu, "enter") is None
    assert press(menu, "j") is None


def test_long_choices_are_cut(menu):
    assert all(len(line) <= 8 for line in shown(menu, (12, 20)))
