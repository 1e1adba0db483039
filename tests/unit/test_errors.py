"""The error tree."""

import inspect

import pytest

from evtools import errors
from evtools.errors import (
    AccessRefused,
    BrokerUnavailable,
    CameraFailed,
    ConfigError,
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
