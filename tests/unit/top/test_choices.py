from typing import get_args

from evtools.state import WINDOWS as SPANS
from evtools.top import choices
from evtools.top.model import Model


def test_the_choices_are_those_of_the_types():
    assert get_args(choices.View) == choices.VIEWS
    assert get_args(choices.Output) == choices.OUTPUTS
    assert get_args(choices.TimeStyle) == choices.TIME_STYLES


def test_there_is_a_table_for_every_view():
    assert tuple(Model().views) == choices.VIEWS


def test_there_are_statistics_for_every_window():
    assert tuple(SPANS) == choices.WINDOWS
