"""Colours as escape sequences."""

from evtools.dump.paint import PLAIN, paint


def test_a_style_is_what_to_print_before_and_after():
    assert paint("bold red") == ("\x1b[1;31m", "\x1b[0m")
    assert paint("reverse") == ("\x1b[7m", "\x1b[0m")


def test_no_style_is_no_paint():
    assert paint("") == PLAIN
