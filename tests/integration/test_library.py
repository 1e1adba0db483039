"""The library in the place of `celery.events`, under what was written for that."""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def celerys_tests():
    """Celery's tests, which are in its source distribution only; kept in build/."""
    name = f"celery-{version('celery')}"
    folder = ROOT / "build" / name
    if not (folder / "t").is_dir():
        sources = ROOT / "build" / "sources"
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
        done = subprocess.run(
            [*pip, "--no-binary", "celery", "--dest", sources, name.replace("-", "==")],
            capture_output=True,
            text=True,
            check=False,
        )
        archive = sources / f"{name}.tar.gz"
        assert archive.is_file(), (
            f"pip cannot download the source distribution of {name}, which has "
            f"Celery's tests: {done.stderr.strip().splitlines()[-1:]}"
        )
        with tarfile.open(archive) as source:
            wanted = [
                each
                for each in source
                if each.name.startswith((f"{name}/t/", f"{name}/pyproject"))
            ]
            source.extractall(folder.parent, wanted, filter="data")
    return folder


@pytest.mark.timeout(300)
def test_celerys_own_tests_of_events_pass_with_our_classes(celerys_tests):
    plugin = ["-p", "instead", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "t/unit/events"],
        cwd=celerys_tests,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout.splitlines()[-1]
