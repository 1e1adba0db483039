import pytest
from urwid.display import escape

from evtools.errors import UsageError
from evtools.top.keys import BINDINGS, CONTEXTS, FOOTER, Keymap, canonical

LISTS = ("lists", "moving", "everywhere")


def test_the_table_is_consistent():
    commands = [binding.command for binding in BINDINGS]
    assert {binding.context for binding in BINDINGS} == set(CONTEXTS)
    assert len(commands) == len(set(commands))
    assert all(binding.keys and binding.help for binding in BINDINGS)
    named = [command for command, _, _ in FOOTER]
    assert set(named) <= set(commands)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("key", ["c", "K", "ctrl-s", "ctrl-k", "delete", "backspace"])
def test_no_slip_changes_the_cluster(key):
    changing = {"revoke", "terminate", "rate-limit", "shutdown"}
    found = Keymap().find(key, ("workers", *LISTS))
    assert found not in changing or key.isupper()


def test_the_first_context_that_knows_a_key_says_what_it_means():
    keymap = Keymap()
    assert keymap.find("/", LISTS) == "filter"
    assert keymap.find("/", ("text", *LISTS)) == "search"
    assert keymap.find("o", ("events", *LISTS)) == "next-related"
    assert keymap.find("S", ("workers", "paused", *LISTS)) == "shutdown"
    assert keymap.find("S", ("paused", *LISTS)) == "seek"
    assert keymap.find("F12", LISTS) is None


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (b" ", "space"), (b"\t", "tab"), (b"\x1b[Z", "shift-tab"), (b"\r", "enter"),
        (b"\x1b", "esc"), (b"\x7f", "backspace"), (b"\x1b[5~", "pgup"), (b"\x1b[6~", "pgdn"),
        (b"\x1b[3~", "delete"), (b"\x06", "ctrl-f"), (b"\x1bx", "alt-x"), (b"\x1bOP", "f1"),
        (b"\x1b[1;5C", "ctrl-right"), ("中".encode(), "中"),
    ],
)  # fmt: skip
def test_keys_of_a_terminal_have_the_names_of_the_table(typed, name):
    keys, rest = escape.process_keyqueue(list(typed), False)
    assert [canonical(key) for key in keys] == [name]
    assert not rest


# --- help and footer ------------------------------------------------------------


def test_a_wide_footer_has_all_items_and_a_narrow_one_whole_ones():
    keymap = Keymap()
    wide = keymap.footer(LISTS, 200, {"back": "Back", "filter": ""})
    assert {("Space", "Mark"), ("q", "Back")} <= set(wide)
    assert "Filter" not in dict(wide).values()
    narrow = keymap.footer(LISTS, 40, {})
    assert {("/", "Filter"), ("?", "Help"), ("q", "Quit")} <= set(narrow)
    assert ("Space", "Mark") not in narrow
    assert sum(len(key) + len(word) + 3 for key, word in narrow) <= 40
    assert keymap.footer(LISTS, 0, {}) == []
    # What another context shadows is left out.
    assert ("o", "Sort") not in keymap.footer(("events", *LISTS), 200, {})


# --- the settings file ----------------------------------------------------------


def test_the_settings_file_gives_a_command_other_keys():
    keymap = Keymap({"follow": ["ctrl-t", "f7"], "sort": "f8"})
    assert keymap.find("ctrl-t", LISTS) == "follow"
    assert keymap.find("f8", LISTS) == "sort"
    assert keymap.find("F", LISTS) is None
    assert keymap.key_of("follow") == "ctrl-t"


def test_no_keys_take_a_command_off_the_keyboard_the_help_and_the_footer():
    keymap = Keymap({"actions": []})
    assert keymap.find("a", LISTS) is None
    assert keymap.key_of("actions") == ""
    assert all(one.command != "actions" for one in keymap.help(LISTS))
    assert ("a", "Actions") not in keymap.footer(LISTS, 200, {})


def test_the_ways_out_cannot_be_taken_away():
    keymap = Keymap({"quit": "ctrl-x", "escape": []})
    assert keymap.find("ctrl-c", LISTS) == "quit"
    assert keymap.find("ctrl-x", LISTS) == "quit"
    assert keymap.find("esc", LISTS) == "escape"
    assert Keymap({"quit": ["ctrl-c"]}).find("ctrl-c", LISTS) == "quit"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"flter": "/"}, 'there is no command "flter"'),
        ({"zzz": "/"}, 'there is no command "zzz"'),
        ({"filter": "ctrl-+"}, 'filter: "ctrl-+" is not a key'),
        ({"filter": " "}, 'filter: " " is not a key'),
        ({"filter": "esc"}, '"esc" always leads out'),
        ({"filter": "ctrl-s"}, 'for a terminal "ctrl-s" is a stop'),
        ({"filter": "ctrl-i"}, 'for a terminal "ctrl-i" is tab'),
        ({"follow": "p"}, 'the key "p" means both "follow" and "pause"'),
        ({"menu-down": "k"}, 'the key "k" means both'),
    ],
)
def test_overrides_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(UsageError) as caught:
        Keymap(overrides)
    assert caught.value.message.startswith("[keys] ")
    assert message in caught.value.message
    assert caught.value.hint
    assert ('did you mean "filter"?' in caught.value.hint) is ("flter" in overrides)


@pytest.mark.parametrize("key", ["ü", "中", "alt-x", "shift-f5", "ctrl-pgdn", "`"])
def test_any_character_and_the_usual_combinations_are_keys(key):
    assert Keymap({"follow": key}).find(key, LISTS) == "follow"


def test_contexts_that_are_never_active_together_may_share_keys():
    assert Keymap({"accept": "q"}).find("q", ("prompts",)) == "accept"
    assert Keymap({"search": "\\"}).find("\\", LISTS) == "filter"
