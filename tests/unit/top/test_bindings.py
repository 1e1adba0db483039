from evtools.top.bindings import BINDINGS, CONTEXTS, FOOTER
from evtools.top.keymap import conflicts

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
