import pytest

from evtools.cli.completions import FILES, SHELLS, programs, script


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_made_of_all_programs(shell):
    text = script(shell)
    assert text == SHELLS[shell](programs())
    assert text.endswith("\n")
    assert "\t" not in text
    for program in programs():
        for flag in program.flags:
            assert all(name.lstrip("-") in text for name in flag.names)


def test_each_shell_has_a_file_of_its_own():
    assert len({*FILES.values()}) == len(SHELLS)
