import json
import subprocess
import sys

import pytest

from evtools.cli import frozen


def test_an_installed_program_leaves_everything_as_it_is(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/here")
    monkeypatch.setattr(sys, "argv", ["evtools", "--multiprocessing-fork"])
    frozen.prepare()
    assert not frozen.is_frozen()
    assert frozen.folder() == ""
    assert frozen.build() == {}
    assert frozen.os.environ["LD_LIBRARY_PATH"] == "/here"


def test_a_frozen_one_corrects_its_environment(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "argv", ["evtools", "dump"])
    monkeypatch.setenv("LD_LIBRARY_PATH", "/unpacked")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/before")
    monkeypatch.setenv("SSL_CERT_FILE", "/mine")
    frozen.prepare()
    assert frozen.os.environ["LD_LIBRARY_PATH"] == "/before"
    assert frozen.os.environ["SSL_CERT_FILE"] == "/mine"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"LD_LIBRARY_PATH": "/unpacked"}, {}),
        (
            {"LD_LIBRARY_PATH": "/unpacked:/a", "LD_LIBRARY_PATH_ORIG": "/a"},
            {"LD_LIBRARY_PATH": "/a"},
        ),
        ({"LD_LIBRARY_PATH": "/unpacked", "LD_LIBRARY_PATH_ORIG": ""}, {"LD_LIBRARY_PATH": ""}),
    ],
)
def test_children_get_the_library_path_of_our_caller(monkeypatch, before, after):
    monkeypatch.setattr(frozen.os, "environ", before)
    frozen.restore_library_path()
    assert before == after


@pytest.mark.parametrize(
    ("environ", "there", "expected"),
    [
        ({}, ("first", "second"), {"SSL_CERT_FILE": "first"}),
        ({}, (), {}),
        ({"SSL_CERT_FILE": "/mine"}, ("first",), {"SSL_CERT_FILE": "/mine"}),
        ({"SSL_CERT_DIR": "/mine"}, ("first",), {"SSL_CERT_DIR": "/mine"}),
    ],
)
def test_the_first_ca_bundle_that_exists_is_used(tmp_path, monkeypatch, environ, there, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frozen, "CA_BUNDLES", ("none", "first", "second"))
    monkeypatch.setattr(frozen.os, "environ", environ)
    for name in there:
        (tmp_path / name).touch()
    frozen.set_ca_bundle()
    assert environ == expected


def served(*argv):
    """Return how a frozen process ends that is started with these words."""
    code = (
        "import sys; sys.frozen = True\n"
        "from evtools.cli.frozen import serve\n"
        f"sys.argv = {argv!r}\n"
        "sys.argv = list(sys.argv); serve(sys.argv); print('on it goes')"
    )
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_process_of_multiprocessing_does_its_work_and_no_more():
    code = "from multiprocessing.resource_tracker import main;print('tracking')"
    assert served("evtools", "-E", "-c", code).stdout == "tracking\n"
    ended = served("evtools", "--multiprocessing-fork", "tracker_fd=98", "pipe_handle=99")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Bad file descriptor" in ended.stderr  # there is no pipe of this number


def test_other_arguments_are_left_to_the_tools():
    for argv in (["evtools"], ["evdump", "-c", "5"], ["evdump", "-c", "from os import abort"]):
        frozen.serve(argv)


def test_it_starts_itself_and_knows_its_build(monkeypatch, tmp_path):
    assert frozen.command("dump", "-V") == [sys.executable, "-m", "evtools", "dump", "-V"]
    (tmp_path / "build.json").write_text(json.dumps({"form": "folder"}))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert frozen.command("dump", "-V") == [sys.executable, "dump", "-V"]
    assert frozen.build() == {"form": "folder"}
