import pytest

from evtools.errors import UsageError
from evtools.top import commands
from evtools.top.bindings import BINDINGS
from evtools.top.commands import COMMANDS, complete, run

TYPED = ("menus", "prompts")


def test_every_key_of_the_screen_stands_for_a_command():
    for binding in BINDINGS:
        if binding.context not in TYPED:
            assert binding.command.partition(" ")[0] in COMMANDS


def test_every_command_says_what_it_does():
    assert all(verb.about and verb.name == name for name, verb in COMMANDS.items())


def test_every_command_can_be_carried_out_in_every_view(busy):
    """Whatever is typed, it ends in a message at the worst."""
    skipped = {"quit", "record"}
    for view in ("tasks", "types", "workers", "queues", "events", "errors"):
        for name in sorted(COMMANDS.keys() - skipped):
            busy.session.recover()
            busy.command(f"view {view}")
            busy.command(name if name != "export" else "export nothing")
            busy.session.host.calls.clear()
            assert busy.lines()


def test_an_unknown_command_is_met_with_a_guess(busy):
    with pytest.raises(UsageError) as caught:
        run(busy.session, "sotr name")
    assert caught.value.message == "there is no command sotr"
    assert caught.value.hint == "did you mean sort?"
    with pytest.raises(UsageError) as caught:
        run(busy.session, "zzzz")
    assert "Tab" in caught.value.hint


@pytest.mark.parametrize("line", ["q", "q!", " quit "])
def test_those_who_know_other_tools_find_the_way_out(busy, line):
    run(busy.session, line)
    assert busy.host.calls == ["end"]


@pytest.mark.parametrize(
    ("text", "start", "choices"),
    [
        ("them", 0, ["theme"]),
        ("theme l", 6, ["light"]),
        ("view wo", 5, ["workers"]),
        ("set wi", 4, ["window"]),
        ("pause x", 6, []),
        ("nothing x", 8, []),
    ],
)
def test_commands_and_their_arguments_are_completed(busy, text, start, choices):
    assert complete(busy.session, text) == (start, choices)


def test_without_anything_typed_all_commands_are_offered(busy):
    assert complete(busy.session, "") == (0, sorted(COMMANDS))


def test_commands_are_typed_after_a_colon_and_remembered(busy):
    busy.press(":")
    assert busy.lines()[-1] == ":"
    busy.write("view wor")
    busy.press("tab", "enter")
    assert busy.session.view == "workers"
    busy.press(":", "up")
    assert busy.session.layer.text == "view workers"
    busy.press("esc", ":", "enter")
    assert busy.session.layer is None
    assert busy.session.history.lines("command") == ["view workers"]


def test_a_command_may_open_what_stays_open(busy):
    busy.press(":")
    busy.write("sort")
    busy.press("enter")
    assert busy.session.layer.title == "sort by"
    assert commands.COMMANDS["sort"].choices(busy.session)
