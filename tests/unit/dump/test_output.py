"""The way out to stdout: when, and what if it is closed or full."""

import os
import subprocess
import sys
import textwrap

import pytest

from evtools.dump.output import Sink
from evtools.errors import OutputError
from tools.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def written(fd):
    return os.pread(fd, 1_000_000, 0)


def test_a_pipe_sees_every_batch_whole(pipe, clock):
    reading, writing = pipe
    sink = Sink(writing, clock=clock)
    sink.write(b"one\n")
    sink.write(b"two\n")
    with pytest.raises(BlockingIOError):
        os.read(reading, 100)
    sink.settle()
    assert os.read(reading, 100) == b"one\ntwo\n"


def test_a_file_is_written_after_a_second(file, clock):
    sink = Sink(file, clock=clock)
    sink.write(b"one\n")
    sink.settle()
    assert written(file) == b""
    clock.now += 1
    sink.settle()
    assert written(file) == b"one\n"
    sink.settle()


def test_a_file_is_written_when_enough_has_come(file, clock):
    sink = Sink(file, clock=clock)
    sink.write(b"x" * 65_535)
    assert written(file) == b""
    sink.write(b"\n")
    assert len(written(file)) == 65_536


def test_line_buffered_means_at_once(file, clock):
    Sink(file, clock=clock, line_buffered=True).write(b"one\n")
    assert written(file) == b"one\n"


def test_the_rest_is_written_at_the_end_and_the_descriptor_left_open(file, clock):
    sink = Sink(file, clock=clock)
    sink.write(b"one\n")
    sink.flush()
    sink.flush()
    assert written(file) == b"one\n"


def test_a_full_disk_is_one_clear_error(clock):
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd, clock=clock)
    sink.write(b"one\n")
    with pytest.raises(OutputError, match="cannot write to stdout: No space left"):
        sink.settle()
    sink.write(b"two\n")
    sink.flush()
    os.close(fd)


def test_a_reader_that_left_is_told_apart(clock):
    reading, writing = os.pipe()
    os.close(reading)
    sink = Sink(writing, clock=clock)
    sink.write(b"one\n")
    with pytest.raises(BrokenPipeError):
        sink.settle()
    sink.flush()
    os.close(writing)


def ended(program):
    """Run a program whose stdout nobody reads; return how it ended."""
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        check=False,
    )
    os.close(writing)
    assert result.stderr == b""
    return result.returncode
