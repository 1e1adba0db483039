"""Two tools that have one option of each kind."""

import pytest

from evtools.cli.completions.grammar import Flag, Program, Value


@pytest.fixture
def programs():
    """evtop, a program of its own, and evtools doctor, which is none."""
    shared = (
        Flag(("-b", "--broker"), "It's a [URL]", Value("URL", words=("redis://",))),
        Flag(("--tls-ca",), "CAs", Value("FILE", "files")),
    )
    top = (
        Flag(("--view",), "View: one", Value("NAME", words=("tasks", "types"))),
        Flag(("-x",), "Leave out", Value("A:B"), repeatable=True),
        Flag(("--workdir",), "There", Value("DIR", "folders")),
        Flag(("--uid",), "Who", Value("USER", "users")),
        Flag(("-o",), "Format", Value("F", words=("csv",))),
    )
    doctor = (Flag(("--fix",), "Remove"), Flag(("-o",), "Format"))
    rest = Value("FILTER", words=("state:", "name:"))
    return [
        Program("top", "evtop", "the cluster's screen", (*shared, *top), rest),
        Program("doctor", "evtools doctor", "why", (*shared, *doctor), None),
    ]
