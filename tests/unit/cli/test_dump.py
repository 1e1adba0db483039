from evtools import __version__
from evtools.cli.dump import main


def test_the_command_line_is_the_programs_own(typed):
    assert typed(main, "evdump", "-V") == (0, f"evdump {__version__}\n", "")
