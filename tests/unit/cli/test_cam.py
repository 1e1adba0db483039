from evtools import __version__
from evtools.cli.cam import main


def test_the_command_line_is_the_programs_own(typed):
    assert typed(main, "evcam", "-V") == (0, f"evcam {__version__}\n", "")
