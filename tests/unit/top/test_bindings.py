import contextlib

import pytest

from evtools.top.bindings import BINDINGS, CONTEXTS, FOOTER
from evtools.top.choices import VIEWS
from evtools.top.keymap import conflicts
from tools.screen import FakeTerminal

COMMANDS = [binding.command for binding in BINDINGS]


def test_no_key_has_two_meanings_in_one_place():
    assert not list(conflicts(BINDINGS))


def test_every_context_has_a_title_and_every_command_one_binding():
    assert {binding.context for binding in BINDINGS} == set(CONTEXTS)
    assert len(COMMANDS) == len(set(COMMANDS))


def test_every_binding_has_a_key_and_a_line_of_help():
    assert all(binding.keys and binding.help for binding in BINDINGS)


def test_the_line_of_keys_has_commands_that_exist_once_each():
    named = [command for command, _, _ in FOOTER]
    assert set(named) <= set(COMMANDS)
    assert len(named) == len(set(named))
    assert all(word for _, word, _ in FOOTER)


# --- pressed ------------------------------------------------------------------------

#: They end the session or stop the process, which other tests are about.
ENDING = ("back", "quit", "suspend")


SIZES = ((80, 24), (120, 32), (50, 12))
BEFOREHAND = ((), ("p",), ("enter", "tab"), ("space", "t"))
#: Every two of view, size and what was pressed before come together once or more.
STAGES = [
    (view, SIZES[(number + at) % len(SIZES)], beforehand)
    for number, view in enumerate(VIEWS)
    for at, beforehand in enumerate(BEFOREHAND)
]


def cluster(size):
    """Return a terminal that shows workers and tasks of all kinds."""
    terminal = FakeTerminal(size)
    life = terminal.life
    events = [life.beat("w1@host"), life.beat("w2@host", ahead=29.0)]
    for number in range(40):
        kind = life.success if number % 5 else life.failure
        events += kind(f"id{number:02}", f"proj.task{number % 3}")
    events.append(life.received("child", root_id="id01", parent_id="id01"))
    terminal.take([*events, life.started("child")])
    return terminal


@pytest.mark.parametrize(("view", "size", "beforehand"), STAGES)
def test_every_key_can_be_pressed_in_every_view(tmp_path, view, size, beforehand):
    with contextlib.chdir(tmp_path):
        terminal = cluster(size)
        for binding in BINDINGS:
            if binding.context in ("menus", "prompts") or binding.command in ENDING:
                continue
            for key in binding.keys:
                terminal.session.recover()
                terminal.session.show(view)
                terminal.press(*beforehand, key)
                terminal.host.ring()
                assert terminal.text
                # What was opened is used: its first choice, or what is typed there.
                if terminal.session.layer is not None:
                    terminal.press("x", "down", "tab", "up", "enter")
                    assert terminal.text
                terminal.tick()
