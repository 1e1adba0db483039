import subprocess

import pytest

from evtools.cli.completions import bash

# What readline does: the words, and which of them is to be completed.
_HARNESS = """
source "$1"; shift
compopt() { printf 'compopt %s\\n' "$*"; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_evtools
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(tmp_path, programs):
    """Return what bash is told for words of which the last is not yet whole."""
    path = tmp_path / "completion"
    path.write_text(bash.script(programs))

    def run(*words):
        done = subprocess.run(
            ["bash", "-u", "-c", _HARNESS, "bash", str(path), *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return run


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (("evtools", "to"), ["top"]),
        (("evtools", "help", ""), ["top", "doctor", "filter", "keys"]),
        (("evtools", "-"), ["--help", "--version"]),
        (("evtop", "--vi"), ["--view"]),
        (("/usr/bin/evtop", "--view", ""), ["tasks", "types"]),
        (("evtools", "top", "--view", "ta"), ["tasks"]),
        (("evtools", "evtop", "--view", "="), ["tasks", "types"]),
        (("evtop", "--view", "=", "ta"), ["tasks"]),
        (("evtop", "--view=ta"), ["--view=tasks"]),
        (("evtop", "-o", ""), ["csv"]),
        (("evtop", "-x", ""), []),
        (("evtop", "-x", "-"), []),
        (("evtop", "--uid", "roo"), ["root"]),
        (("evtools", "doctor", "-o", ""), []),
        (("evtools", "doctor", "--f"), ["--fix"]),
        (("evtools", "doctor", ""), []),
        (("evtools", "nonsense", "-"), []),
        (("evtop", "state", ":", "F"), []),
        (("evtop", "state", ":"), []),
    ],
)
def test_words_are_completed(complete, words, replies):
    assert complete(*words) == replies


@pytest.mark.parametrize(
    "words", [("evtop", "st"), ("evtools", "top", "st"), ("evtop", "--fix", "st")]
)
def test_after_a_field_no_blank_is_written(complete, words):
    assert complete(*words) == ["compopt", "-o", "nospace", "state:"]


def test_files_and_folders_are_completed_as_such(complete, tmp_path):
    (tmp_path / "ca.pem").touch()
    (tmp_path / "cafolder").mkdir()
    how = ["compopt", "-o", "filenames"]
    for program in (["evtop"], ["evtools", "doctor"]):
        found = complete(*program, "--tls-ca", "ca")
        assert found[:3] == how
        assert sorted(found[3:]) == ["ca.pem", "cafolder"]
    assert complete("evtop", "--workdir", "ca") == [*how, "cafolder"]


def test_what_is_the_same_for_all_tools_is_told_once(programs):
    script = bash.script(programs)
    assert '*" --tls-ca") kind=files ;;' in script
    assert '"evtop -o") words="csv" ;;' in script
