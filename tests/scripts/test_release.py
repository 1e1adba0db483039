import hashlib
from pathlib import Path

import pytest

import image
import interpreter
from release import join, too_large, too_new

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


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """What was built on two machines, with an image that is only named."""

    def join_images(paths, target):
        target.write_text(" ".join(path.parent.name for path in paths))

    monkeypatch.setattr(image, "join", join_images)
    folders = [tmp_path / "x86_64", tmp_path / "aarch64"]
    for folder in folders:
        folder.mkdir()
        files = {"a.whl": "same", f"a-{folder.name}": "other", "a-image.tar": "one of them"}
        lines = []
        for name, text in files.items():
            (folder / name).write_text(text)
            lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n")
        (folder / "SHA256SUMS").write_text("".join(lines))
    return folders


def test_what_two_machines_have_built_is_put_together(machines, tmp_path):
    written = {path.name: path.read_text() for path in join(machines, tmp_path / "dist")}
    sums = written.pop("SHA256SUMS").splitlines()
    assert [line.split()[1] for line in sums] == list(written)
    assert written == {
        "a-aarch64": "other",
        "a-image.tar": "x86_64 aarch64",
        "a-x86_64": "other",
        "a.whl": "same",
    }


def test_what_changed_on_the_way_or_differs_is_not_put_together(machines, tmp_path):
    (machines[1] / "a.whl").write_text("changed")
    with pytest.raises(interpreter.BuildError, match=r"aarch64/a\.whl is not what"):
        join(machines, tmp_path / "dist")
    digest = hashlib.sha256(b"changed").hexdigest()
    (machines[1] / "SHA256SUMS").write_text(f"{digest}  a.whl\n")
    with pytest.raises(interpreter.BuildError, match=r"not the same: .*, "):
        join(machines, tmp_path / "dist")
