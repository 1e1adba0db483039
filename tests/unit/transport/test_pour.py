"""Bytes into descriptors that take little at once."""

import errno
import os
import threading

from evtools.transport.recording.writer import write_all


def drained(fd):
    """Read everything in another thread; return what joins it and gives the bytes."""
    pieces = []

    def read():
        while piece := os.read(fd, 65536):
            pieces.append(piece)

    thread = threading.Thread(target=read)
    thread.start()

    def result():
        thread.join()
        return b"".join(pieces)

    return result


def test_a_full_non_blocking_pipe_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = bytes(range(256)) * 4096
    result = drained(reading)
    assert write_all(writing, data) == (len(data), None)
    os.close(writing)
    assert result() == data
    os.close(reading)


def test_what_stopped_it_is_told():
    reading, writing = os.pipe()
    os.close(reading)
    done, error = write_all(writing, bytearray(b"x"))
    os.close(writing)
    assert done == 0
    assert isinstance(error, BrokenPipeError)


def test_a_full_disk_is_told():
    fd = os.open("/dev/full", os.O_WRONLY)
    done, error = write_all(fd, b"x")
    os.close(fd)
    assert (done, error.errno) == (0, errno.ENOSPC)


def test_nothing_is_written_at_once():
    assert write_all(-1, b"") == (0, None)
