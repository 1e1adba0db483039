"""Compression: what kombu can do to a body, undone within bounds."""

import bz2
import contextlib
import lzma
import tracemalloc
import zlib

import kombu.compression
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from evtools.errors import DecodeError
from evtools.wire.serializers import decompress

MAX = 1_000_000

#: By the names that travel: kombu's content types, and its aliases of them.
METHODS = {
    **dict.fromkeys(("application/x-gzip", "gzip", "zlib"), zlib.compress),
    **dict.fromkeys(("application/x-bz2", "bzip2", "bzip"), bz2.compress),
    **dict.fromkeys(("application/x-lzma", "lzma", "xz"), lzma.compress),
    **dict.fromkeys(("application/zstd", "zstd", "zstandard"), zstandard.compress),
}
each_method = pytest.mark.parametrize("name", METHODS)


def refusal(body, name, max_bytes=MAX):
    with pytest.raises(DecodeError) as caught:
        decompress(body, name, max_bytes=max_bytes)
    return caught.value


@each_method
@given(st.binary(max_size=2000))
def test_what_was_compressed_comes_back(name, data):
    packed = METHODS[name](data)
    assert decompress(packed, name, max_bytes=len(data)) == data


def test_every_method_that_kombu_has_here_is_known():
    for name in [*kombu.compression.encoders(), *kombu.compression._aliases]:
        body, _ = kombu.compression.compress(b"data", name)
        assert decompress(body, name, max_bytes=MAX) == b"data"


def test_a_real_gzip_header_is_fine_too():
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(b"data") + packer.flush()
    assert decompress(body, "gzip", max_bytes=MAX) == b"data"


def test_a_stream_that_does_not_say_its_length_is_unpacked():
    packer = zstandard.ZstdCompressor().compressobj()
    body = packer.compress(b"data") + packer.flush()
    assert zstandard.frame_content_size(body) == -1
    assert decompress(body, "zstd", max_bytes=MAX) == b"data"


@each_method
def test_the_limit_is_kept_to_the_byte(name):
    body = METHODS[name](b"x" * 1000)
    assert decompress(body, name, max_bytes=1000) == b"x" * 1000
    error = refusal(body, name, 999)
    assert (error.kind, error.detail) == ("message too large", "over 999 bytes unpacked")


@pytest.mark.parametrize("name", ["gzip", "bzip2", "lzma", "zstd"])
def test_a_bomb_is_unpacked_no_further_than_the_limit(name):
    body = METHODS[name](bytes(50_000_000))
    tracemalloc.start()
    error = refusal(body, name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.kind == "message too large"
    # A dictionary of LZMA and the limit, with room for both twice.
    assert peak < 20_000_000


def test_a_body_that_asks_for_much_memory_does_not_get_it():
    alone = lzma.compress(b"data", format=lzma.FORMAT_ALONE)
    dictionary = alone[:1] + (1 << 30).to_bytes(4, "little") + alone[5:]
    error = refusal(dictionary, "lzma")
    assert error.kind == "broken compression"
    assert "Memory usage limit" in error.detail
    # Magic number, a frame header that wants 3.75 TiB, a block.
    window = b"\x28\xb5\x2f\xfd\x00\xff\x21\x00\x00data"
    assert refusal(window, "zstd").kind == "broken compression"


@each_method
@pytest.mark.parametrize("length", [0, 1, 5, 15, -9])
def test_a_body_that_breaks_off_is_named(name, length):
    body = METHODS[name](bytes(range(256)) * 100)[:length]
    assert refusal(body, name).kind == "broken compression"


@each_method
def test_a_body_that_was_not_compressed_is_named(name):
    error = refusal(b'{"type": "task-started"}', name)
    assert error.kind == "broken compression"
    assert error.detail


@pytest.mark.parametrize("name", ["application/x-brotli", "klingon", "GZIP", "\ud800"])
def test_a_method_that_we_do_not_know_is_named(name):
    error = refusal(b"data", name)
    assert (error.kind, error.detail) == ("unknown compression", repr(name))


@given(st.binary(), st.sampled_from(sorted(METHODS)))
def test_no_bytes_make_it_raise_anything_else(body, name):
    with contextlib.suppress(DecodeError):
        assert len(decompress(body, name, max_bytes=100)) <= 100
