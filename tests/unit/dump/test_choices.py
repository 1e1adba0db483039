"""The names that --output and --ts take."""

from typing import get_args

import pytest

from evtools.dump.choices import OUTPUTS, TIMESTAMPS, Output, Timestamps


@pytest.mark.parametrize(("names", "kind"), [(OUTPUTS, Output), (TIMESTAMPS, Timestamps)])
def test_the_table_has_exactly_the_names_of_the_type(names, kind):
    assert names == get_args(kind)
