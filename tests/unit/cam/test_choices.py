import logging
from typing import get_args

from evtools.cam.choices import ERRANDS, LOG_FORMATS, LOG_LEVELS, Errand, LogFormat


def test_the_tables_have_exactly_the_names_of_the_types():
    assert get_args(LogFormat) == LOG_FORMATS
    assert get_args(Errand) == ERRANDS


def test_the_levels_are_those_of_logging():
    assert {name: getattr(logging, name) for name in LOG_LEVELS} == LOG_LEVELS
