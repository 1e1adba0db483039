"""What a release publishes, with a program that is none, and where it is fetched."""

from __future__ import annotations

import contextlib
import functools
import platform
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bundle
from binary import Built, Commit
from evtools import __version__
from tools.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"evtools-{__version__}-linux-{platform.machine()}"

# Like the program that is frozen, it is the tool of the name by which it is called.
_PROGRAM = """\
#!/bin/sh
export PYTHONPATH={root}
case ${{0##*/}} in
    evtop | evdump | evcam) set -- "${{0##*/}}" "$@" ;;
esac
exec {python} -m evtools "$@"
"""


def make_stand_in(folder: Path) -> Path:
    """Return a folder like dist/ with all that is real but the frozen program.

    In place of that there is a script which runs the code of this checkout.
    """
    single = folder / NAME
    program = folder / "program" / "evtools"
    program.parent.mkdir()
    for path in (single, program):
        path.write_text(_PROGRAM.format(root=ROOT, python=sys.executable))
        path.chmod(0o755)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    subprocess.run([*words, str(folder)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    made = Built(
        *(__version__, wheel, single, program.parent, Path(sys.executable)),
        Commit("of this checkout", 1_000_000_000),
    )
    bundle.publish(made, folder / "dist")
    return folder / "dist"


class _Quiet(SimpleHTTPRequestHandler):
    """Writes nothing on our stderr."""

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Have a folder fetched from an address on loopback."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="http")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
