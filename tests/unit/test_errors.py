"""The error tree."""

import inspect

import pytest

from evtools import errors
from evtools.errors import (
    AccessRefused,
    BrokerUnavailable,
    CameraFailed,
    ConfigError,
    DecodeError,
    EvtoolsError,
    FilterError,
    ImproperlyConfigured,
    OutputError,
    UsageError,
)

TREE = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__]


def depth_of(error):
    return len(error.__mro__) - len(EvtoolsError.__mro__)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EvtoolsError, 1),
        (UsageError, 2),
        (FilterError, 2),
        (ImproperlyConfigured, 2),
        (BrokerUnavailable, 69),
        (AccessRefused, 69),
        (CameraFailed, 70),
        (OutputError, 73),
        (ConfigError, 78),
    ],
)
def test_every_error_has_its_exit_status(error, status):
    assert error.exit_code == status


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {}
    for line in errors.__doc__.splitlines()[2:]:
        indent = len(line) - len(line.lstrip(" |+-"))
        name = line[indent:].split()[0]
        drawn[name] = indent // 4
    real = {each.__name__: depth_of(each) for each in TREE if issubclass(each, EvtoolsError)}
    assert drawn == real


def test_an_error_says_what_happened_and_what_to_do():
    error = OutputError("cannot create x.jsonl: no space left", "free some space")
    assert str(error) == error.message == "cannot create x.jsonl: no space left"
    assert error.hint == "free some space"
    assert EvtoolsError("no advice").hint == ""


def test_a_filter_error_knows_the_place():
    error = FilterError("no field runtme", "runtime?", text="runtme>2", position=0)
    assert (error.text, error.position, error.length) == ("runtme>2", 0, 1)
    error = FilterError("?", text="a b", position=2, length=3)
    assert (error.hint, error.position, error.length) == ("", 2, 3)


def test_a_decode_error_has_a_kind_and_perhaps_a_detail():
    error = DecodeError("no JSON", "line 1")
    assert (error.kind, error.detail, str(error)) == ("no JSON", "line 1", "no JSON: line 1")
    assert str(DecodeError("no type")) == "no type"
