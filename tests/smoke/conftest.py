"""The program as it was built, in each form, on this machine or in a root file system.

SMOKE_DIST names the folder with what is built meanwhile, as in `make test`, if it is not
in dist, SMOKE_ROOT the root file system to run it in, SMOKE_FORMS its forms there, and
SMOKE_IMAGE the configuration of the image if it is that of one, as in scripts/rootfs.sh.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servers.process import wait_until
from tools.flow import Sender
from tools.frozen import FORMS, Place, Program, ProgramStarter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REPOSITORY = Path(__file__).resolve().parents[2]
_ROOT = Path(os.environ["SMOKE_ROOT"]) if os.environ.get("SMOKE_ROOT") else None


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with what was built; the checksums are the last of it."""
    if "SMOKE_DIST" not in os.environ:
        return _REPOSITORY / "dist"
    folder = _REPOSITORY / os.environ["SMOKE_DIST"]
    wait_until((folder / "SHA256SUMS").exists, deadline=50, what=f"the program in {folder}")
    return folder


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    """Where the program runs; not in /tmp, which a test mounts something over."""
    image = None
    outside = _ROOT / "opt/smoke" if _ROOT else _REPOSITORY / "build" / "smoke"
    if "SMOKE_IMAGE" in os.environ:
        image = json.loads(Path(os.environ["SMOKE_IMAGE"]).read_text())["config"]
        # All else is read-only.
        outside = Path(f"{_ROOT}{tempfile.gettempdir()}/smoke")
    outside /= os.environ.get("PYTEST_XDIST_WORKER", "alone")
    shutil.rmtree(outside, ignore_errors=True)
    yield Place(_ROOT, outside, image)
    shutil.rmtree(outside)


@pytest.fixture(scope="session")
def programs(place: Place, dist: Path) -> dict[str, Program]:
    """Each form, put in its place once."""
    return {form: Program(form, place, dist) for form in FORMS}


@pytest.fixture(params=FORMS)
def program(request: pytest.FixtureRequest, programs: dict[str, Program]) -> Program:
    """Each form in turn; nothing of it is left in its temporary folder."""
    chosen = programs[request.param]
    chosen.tidy()
    return chosen


@pytest.fixture
def start(program: Program, tmp_path: Path) -> Iterator[ProgramStarter]:
    """Start a tool: `start("evdump", "-b", url)`."""
    starter = ProgramStarter(program, tmp_path)
    yield starter
    starter.end()


_numbers = itertools.count(1)


@pytest.fixture
def folder(place: Place) -> Path:
    """A folder of this test's own that the program sees, too."""
    return place.folder(f"test{next(_numbers)}")


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    """Publish events: `sender(url).send("task-sent", ...)`."""
    started = []

    def start(url: str) -> Sender:
        made = Sender(url)
        started.append(made)
        return made

    yield start
    for made in started:
        made.close()
