"""What the standalone program in dist/ costs: its start, and its size."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tools.frozen import only

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.bench

DIST = Path(__file__).resolve().parents[2] / "dist"
ROUNDS = 20
_MEBIBYTE = 1024 * 1024

#: How many times the start of `python -m evtools --version` each may take.
STARTS = {"folder": 2, "single file": 5}
#: In MiB.
SIZES = {"tarball": 25, "single file": 40}


@pytest.fixture(scope="module")
def single():
    """The single file."""
    return only(DIST, "evtools-*-linux-*[!tz]")


@pytest.fixture(scope="module")
def tarball():
    """The tarball."""
    return only(DIST, "*.tar.xz")


@pytest.fixture(scope="module")
def folder(tarball, tmp_path_factory):
    """The program that the tarball unpacks to."""
    unpacked = tmp_path_factory.mktemp("binary")
    with tarfile.open(tarball) as archive:
        archive.extractall(unpacked, filter="tar")
    (program,) = unpacked.glob("*/bin/evtools")
    return program


def seconds(argv: Sequence[str | Path]) -> float:
    """Return how long a program runs."""
    begin = time.perf_counter()
    subprocess.run([*map(str, argv), "--version"], check=True, capture_output=True)
    return time.perf_counter() - begin


def test_it_starts_nearly_as_fast_as_what_pip_installs(single, folder, table):
    programs = {
        "python -m": [sys.executable, "-m", "evtools"],
        "folder": [folder],
        "single file": [single],
    }
    # In turns: what else the machine does hits all of them alike.
    times = [{name: seconds(argv) for name, argv in programs.items()} for _ in range(ROUNDS)]
    medians = {name: median(each[name] for each in times) for name in programs}
    base = medians["python -m"]
    missed = []
    for name, budget in STARTS.items():
        ratio = medians[name] / base
        met = ratio <= budget
        table.append(
            (
                f"{name} --version, against python -m",
                f"{base * 1e3:.0f} ms",
                f"{medians[name] * 1e3:.0f} ms",
                f"{ratio:.1f}",
                f"{budget}",
                "met" if met else "NOT MET",
            )
        )
        missed += [] if met else [table[-1]]
    assert not missed


def test_it_is_small_enough_to_copy_about(single, tarball, table):
    missed = []
    for name, path in {"tarball": tarball, "single file": single}.items():
        size = path.stat().st_size / _MEBIBYTE
        met = size <= SIZES[name]
        verdict = "met" if met else "NOT MET"
        budget = f"{SIZES[name]} MiB"
        table.append((f"size of the {name}", "", f"{size:.1f} MiB", "", budget, verdict))
        missed += [] if met else [table[-1]]
    assert not missed
