from evtools.state import WINDOWS as SPANS
from evtools.top import choices
from evtools.top.model import Model


def test_there_is_a_table_for_every_view():
    assert tuple(Model().views) == choices.VIEWS


def test_there_are_statistics_for_every_window():
    assert tuple(SPANS) == choices.WINDOWS
