import subprocess
import sys

import pytest

import evtools


def test_every_public_name_can_be_had():
    for name in evtools.__all__:
        assert getattr(evtools, name) is not None
    assert sorted(evtools.__all__) == evtools.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = evtools.nonsense
    with pytest.raises(ImportError):
        exec("from evtools import nonsense", {})


def test_importing_costs_nothing_until_a_name_is_used():
    code = (
        "import sys, evtools\n"
        "assert evtools.__version__\n"
        "heavy = {'kombu', 'msgspec', 'redis', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "evtools.EventReceiver\n"
        "assert 'kombu' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
