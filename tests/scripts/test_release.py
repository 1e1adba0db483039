from pathlib import Path

from release import too_large, too_new

MEBIBYTE = 1024 * 1024


def test_a_file_for_a_newer_c_library_is_named():
    found = {Path("a.so"): (2, 28), Path("b.so"): (2, 29), Path("c.so"): (3, 0)}
    assert too_new(found) == ["b.so needs glibc 2.29", "c.so needs glibc 3.0"]


def test_what_is_too_large_is_named():
    sizes = {
        "evtools-1-linux-x86_64": 41 * MEBIBYTE,
        "evtools-1-linux-x86_64.tar.xz": 25 * MEBIBYTE,
        "evtools-1-linux-aarch64": 40 * MEBIBYTE,
        "image, unpacked, without its base": 61 * MEBIBYTE,
        "SHA256SUMS": 100,
    }
    assert too_large(sizes) == [
        "evtools-1-linux-x86_64 has 41.0 MiB, allowed are 40",
        "image, unpacked, without its base has 61.0 MiB, allowed are 60",
    ]
