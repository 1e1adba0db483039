import pytest

from tools.watched import Watched


@pytest.fixture
def watched():
    return Watched()
