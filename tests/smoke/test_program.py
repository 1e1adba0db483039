"""What the standalone program is by itself: names, versions, its own test."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from evtools import __version__
from tools.frozen import TOOLS


@pytest.mark.parametrize("tool", TOOLS)
def test_a_link_is_the_tool_of_its_name(program, tool):
    done = program.run(tool, "-V")
    assert (done.returncode, done.stdout) == (0, f"{tool} {__version__}\n")
    done = program.run(tool, "--help")
    assert done.returncode == 0
    assert f"Usage: {tool}" in done.stdout


@pytest.mark.parametrize("word", ["top", "dump", "cam"])
def test_the_first_argument_is_the_tool_as_well(program, word):
    done = program.run("evtools", word, "-V")
    assert (done.returncode, done.stdout) == (0, f"ev{word} {__version__}\n")


def test_the_version_tells_what_is_inside(program):
    facts = json.loads(program.run("evtools", "--version", "--json").stdout)
    form = "single file" if program.form == "single" else "folder"
    assert facts["build"]["form"] == form
    assert facts["build"]["commit"]
    assert "embedded" in facts["python"]
    assert {"amqps", "rediss", "sentinel"} <= set(facts["transports"])
    text = program.run("evdump", "--version").stdout
    assert f"build       {form} of " in text
    assert "\npython      3." in text


def test_it_passes_its_own_test(program):
    done = program.run("evtools", "selftest", "-o", "json")
    failed = [each for each in json.loads(done.stdout) if not each["ok"]]
    assert failed == []
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_stays_in_the_temporary_folder(program):
    assert program.run("evdump", "--demo", "-c", "3").returncode == 0
    assert program.left_behind() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_folder_without_programs_is_named_with_what_to_do(program, place):
    """A mount hides /tmp from this test's own processes only.

    The program is put back where it was, which may be in there.
    """
    root = place.root or ""
    steps = (
        f"mount --bind {place.outside} /mnt",
        f"mount -t tmpfs -o noexec smoke {root}/tmp",
        f"mount -t tmpfs -o noexec smoke {root}/var/tmp",
        f"mkdir -p {place.outside}",
        f"mount --bind /mnt {place.outside}",
        'exec "$@"',
    )
    script = " && ".join(steps)
    before = ["unshare", "--mount", "sh", "-c", script, "sh"]
    done = place.run(program.path("evtools"), "-V", before=before, env={"TMPDIR": None})
    facts = json.loads(program.run("evtools", "--version", "--json").stdout)
    if program.form != "single":
        assert (done.returncode, done.stderr) == (0, "")
    elif facts["build"]["bootloader"] == "own":
        assert done.returncode != 0
        assert "/tmp is mounted noexec" in done.stderr
        assert "set TMPDIR" in done.stderr
    else:  # `make binary` takes PyInstaller's own, which says it in its words
        assert done.returncode != 0
        assert done.stderr


def test_what_it_starts_has_the_library_path_of_its_caller(program, place, folder):
    camera = folder / "path_camera.py"
    camera.write_text(
        "import os, subprocess\n"
        "from evtools import Polaroid\n"
        "class Camera(Polaroid):\n"
        "    def on_shutter(self, state):\n"
        "        subprocess.run(['sh', '-c', 'echo ${LD_LIBRARY_PATH-unset} >path'],\n"
        "                       check=True)\n"
    )
    for before, after in ((None, "unset"), ("/nowhere", "/nowhere")):
        done = program.run(
            *("evcam", "--demo", "--once", "-c", "path_camera.Camera"),
            *("--workdir", place.seen(folder)),
            env={"LD_LIBRARY_PATH": before},
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "path").read_text().strip() == after


def test_checksums_are_those_of_the_files(dist):
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=dist, check=True)
