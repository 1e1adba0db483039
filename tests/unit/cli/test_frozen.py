import json
import subprocess
import sys

import pytest

from evtools.cli import frozen


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Return the environment after a start with `environ`, as the standalone program."""

    def prepare(environ, *, standalone=True, argv=("evtools",)):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(frozen, "CA_BUNDLES", ("none", "first", "second"))
        monkeypatch.setattr(sys, "frozen", standalone, raising=False)
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(frozen.os, "environ", dict(environ))
        frozen.prepare()
        return frozen.os.environ

    return prepare


def test_an_installed_program_leaves_everything_as_it_is(prepared):
    environ = {"LD_LIBRARY_PATH": "/here", "LD_LIBRARY_PATH_ORIG": "/before"}
    words = ["evtools", "--multiprocessing-fork"]
    assert prepared(environ, standalone=False, argv=words) == environ
    assert (frozen.is_frozen(), frozen.folder(), frozen.build()) == (False, "", {})


@pytest.mark.parametrize(
    ("before", "there", "after"),
    [
        ({}, (), {}),
        ({"LD_LIBRARY_PATH": "/unpacked"}, (), {}),
        ({"LD_LIBRARY_PATH": "/unpacked:/a", "LD_LIBRARY_PATH_ORIG": "/a"}, (),
         {"LD_LIBRARY_PATH": "/a"}),
        ({"LD_LIBRARY_PATH": "/unpacked", "LD_LIBRARY_PATH_ORIG": ""}, (),
         {"LD_LIBRARY_PATH": ""}),
        ({}, ("second", "first"), {"SSL_CERT_FILE": "first"}),
        ({"SSL_CERT_FILE": "/mine"}, ("first",), {"SSL_CERT_FILE": "/mine"}),
        ({"SSL_CERT_DIR": "/mine"}, ("first",), {"SSL_CERT_DIR": "/mine"}),
    ],
)  # fmt: skip
def test_children_get_the_callers_library_path_and_a_ca_bundle(
    prepared, tmp_path, before, there, after
):
    for name in there:
        (tmp_path / name).touch()
    assert prepared(before) == after


def started(*words):
    """Return how a frozen process ends that is started with these words."""
    code = (
        "import sys; sys.frozen = True\n"
        "from evtools.cli.frozen import prepare\n"
        f"sys.argv = list({words!r}); prepare(); print('on it goes')"
    )
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_process_of_multiprocessing_does_its_work_and_no_more():
    code = "from multiprocessing.resource_tracker import main;print('tracking')"
    assert started("evtools", "-E", "-c", code).stdout == "tracking\n"
    ended = started("evtools", "--multiprocessing-fork", "tracker_fd=98", "pipe_handle=99")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Bad file descriptor" in ended.stderr  # there is no pipe of this number


def test_it_starts_itself_and_knows_its_build(monkeypatch, tmp_path):
    assert frozen.command("dump", "-V") == [sys.executable, "-m", "evtools", "dump", "-V"]
    (tmp_path / "build.json").write_text(json.dumps({"form": "folder"}))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert frozen.command("dump", "-V") == [sys.executable, "dump", "-V"]
    assert frozen.build() == {"form": "folder"}
