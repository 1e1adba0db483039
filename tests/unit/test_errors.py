"""The error tree."""

import inspect
import re

from evtools import errors
from evtools.errors import EvtoolsError


def test_the_tree_in_the_docstring_is_the_tree_and_every_error_has_its_status():
    drawn, status = {}, {}
    for line in errors.__doc__.splitlines()[2:]:
        indent = len(line) - len(line.lstrip(" |+-"))
        name = line[indent:].split()[0]
        drawn[name] = indent // 4
        exits = re.search(r"exit (\d+)", line)
        if exits:
            status[name] = int(exits[1])
    tree = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    real = {each.__name__: each for each in tree if issubclass(each, EvtoolsError)}
    above = len(EvtoolsError.__mro__)
    assert drawn == {name: len(each.__mro__) - above for name, each in real.items()}
    assert {name: real[name].exit_code for name in status} == status
