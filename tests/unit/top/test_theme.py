import pytest
from urwid.display.common import AttrSpec

from evtools.top.choices import THEMES as CHOICES
from evtools.top.theme import STYLES, THEMES, looks

ROWS = ("good", "running", "waiting", "failure", "retry")


def test_the_themes_are_those_that_the_command_line_offers():
    assert set(THEMES) == set(CHOICES)


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_has_a_look_for_every_style(theme):
    assert set(looks(theme)) == set(STYLES)


@pytest.mark.parametrize("theme", THEMES)
def test_every_look_is_one_that_urwid_can_draw(theme):
    for look in looks(theme).values():
        parts = [look.foreground, *filter(None, look.settings.split(","))]
        AttrSpec(",".join(parts), "default")
        AttrSpec(",".join([look.high or look.foreground, *parts[1:]]), "", 256)


@pytest.mark.parametrize("theme", THEMES)
def test_no_theme_uses_white_or_black(theme):
    for look in looks(theme).values():
        assert look.foreground not in ("white", "black", "light gray", "dark gray")


@pytest.mark.parametrize("theme", THEMES)
def test_a_selection_is_the_reverse_in_every_theme(theme):
    assert looks(theme)["selected"].settings == "standout"
    assert looks(theme)["selected"].foreground == "default"


def test_without_colours_bold_and_reverse_are_left():
    plain = looks("mono")
    assert {look.foreground for look in plain.values()} == {"default"}
    assert plain["failure"].settings == "bold"


def test_an_unknown_theme_is_plain():
    assert looks("neon") == looks("mono")


def test_good_and_bad_are_no_green_and_red_where_that_cannot_be_told():
    for style in ROWS:
        look = looks("cb")[style]
        assert "green" not in look.foreground
        assert "red" not in look.foreground
    assert looks("cb")["good"].high != looks("cb")["failure"].high
