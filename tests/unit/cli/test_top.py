from evtools import __version__
from evtools.cli.top import main


def test_the_command_line_is_the_programs_own(typed):
    assert typed(main, "evtop", "-V") == (0, f"evtop {__version__}\n", "")


def test_a_batch_needs_no_screen(modules_after):
    _, modules = modules_after("top", "--demo", "-B", "-d", "10ms", "-q")
    assert "kombu" in modules
    assert not modules & {"urwid", "rich"}
