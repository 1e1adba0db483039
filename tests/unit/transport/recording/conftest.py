import os
from contextlib import contextmanager

import pytest


@contextmanager
def _piped(fd):
    before = os.dup(fd)
    ends = os.pipe()
    ours, other = ends if fd else ends[::-1]
    os.dup2(other, fd)
    os.close(other)
    try:
        yield ours
    finally:
        os.dup2(before, fd)
        os.close(before)


@pytest.fixture
def piped():
    """Put a pipe at descriptor 0 or 1; give its other end."""
    return _piped
