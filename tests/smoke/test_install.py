"""What was built, installed as evtools-install(7) says, and from the tarball where it runs.

The commands run on this machine. Where there is a root file system, the program is also
started in it as a user who may do nothing, with nothing to write to.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tarfile

import pytest

from evtools import __version__
from tools.command import ROOT, Starter
from tools.frozen import TOOLS
from tools.machine import BROKER, DEADLINE, Machine, beating, split
from tools.shown import texts

# --- What the manual page says


@pytest.fixture
def machine(dist, redis_url, sender, tmp_path):
    """A machine to which what was built was downloaded, and a broker with a worker."""
    with beating(sender(redis_url)):
        made = Machine(tmp_path, {BROKER: redis_url})
        made.download(dist)
        yield made
        made.end()


def test_the_single_file_is_verified_run_and_kept(machine):
    first, second = texts("SINGLE FILE")
    verify, look = split(first)
    assert ": OK" in machine.run(verify)
    machine.look_at(look)
    assert "single file of " in machine.run(second)
    for tool in TOOLS:
        told = machine.run(f"{machine.home}/.local/bin/{tool} -V")
        assert told == f"{tool} {__version__}\n"


@pytest.mark.timeout(180)
def test_the_tarball_is_installed_and_goes_again(machine):
    (install,), (*_, remove) = texts("TARBALL"), texts("REMOVING")
    machine.run(install)
    machine.path = f"{machine.prefix}/bin:{machine.path}"
    assert "folder of " in machine.run(texts("VERIFYING")[0])
    machine.look_at(f"/usr/local/bin/evtop -b {BROKER}")
    machine.run(remove)
    assert not machine.prefix.exists()


# --- Where it runs


@pytest.fixture
def prefix(place, programs, folder):
    """Where the tarball is installed, as we see it."""
    (unpacked,) = (place.outside / "unpacked").iterdir()
    script = place.seen(unpacked / "install.sh")

    def install(*words):
        chosen = ("--prefix", place.seen(folder / "prefix"))
        done = place.run("/bin/sh", script, *chosen, *words)
        assert done.returncode == 0, done.stderr

    install()
    yield folder / "prefix"
    install("--uninstall")
    assert not (folder / "prefix").exists()


def test_the_manual_pages_can_be_read(place, prefix):
    for page in (ROOT / "man").iterdir():
        path = prefix / "share" / "man" / f"man{page.suffix[1:]}" / page.name
        text = place.run("/bin/cat", place.seen(path)).stdout
        assert text.startswith(f".TH {page.stem.upper()} ")
        checked = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning"], input=text, text=True, check=False
        )
        assert checked.returncode == 0


def test_every_shell_finds_its_completions(place, prefix):
    """And they are those of the program that was installed."""
    files = {
        "bash": [f"bash-completion/completions/{tool}" for tool in TOOLS],
        "fish": [f"fish/vendor_completions.d/{tool}.fish" for tool in TOOLS],
        "zsh": ["zsh/site-functions/_evtools"],
    }
    program = place.seen(prefix / "bin" / "evtools")
    for shell, paths in files.items():
        printed = place.run(program, "completion", shell).stdout
        for path in paths:
            read = place.run("/bin/cat", place.seen(prefix / "share" / path))
            assert read.stdout == printed != ""


def test_a_tab_in_bash_completes(place, prefix, tmp_path):
    """The file is read by hand, as bash-completion does where it is installed."""
    starter = Starter(tmp_path)
    bash = starter.start(
        place.argv("/bin/bash", "--norc", "--noprofile", "-i"),
        terminal=(160, 24),
        stderr_on_terminal=True,
        env=place.environment(TERM="xterm", PS1="ready> "),
    )
    try:
        bash.wait_screen("ready>")
        read = place.seen(prefix / "share/bash-completion/completions/evcam")
        bash.type(f"PATH={place.seen(prefix / 'bin')}:$PATH; . {read}\n")
        bash.type("evcam --maxr\t")
        bash.wait_screen("evcam --maxrate", deadline=DEADLINE)
        bash.type("\x15evcam -c prom\t")
        bash.wait_screen("evcam -c prometheus", deadline=DEADLINE)
    finally:
        starter.end()


@pytest.fixture
def program(place, dist, tmp_path):
    """Where the program of the tarball is, below the root."""
    root = place.root or tmp_path / "root"
    (archive,) = dist.glob("*.tar.xz")
    with tarfile.open(archive) as entries:
        entries.extractall(root / "opt", filter="tar")
    tree = root / "opt" / archive.name.removesuffix(".tar.xz")
    yield tree / "bin" / "evtools"
    shutil.rmtree(tree)


# A root file system in which nothing can be written; /proc and /dev are as ever.
_READ_ONLY = """
mount --bind "$1" "$1"
mount --rbind /dev "$1/dev"
mount --bind /proc "$1/proc"
mount -o remount,bind,ro "$1"
shift
exec "$@"
"""


def without_rights(place, program, arguments):
    """Run the program where it may do nothing; return how it ended."""
    if place.root is None:
        return place.run(str(program), *arguments)
    assert os.geteuid() == 0
    root = str(place.root)
    before = [
        *("unshare", "--mount", "sh", "-euc", _READ_ONLY, "sh", root),
        *("chroot", "--userspec=nobody", root, f"/{program.relative_to(root)}", *arguments),
    ]
    return subprocess.run(
        before,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_it_runs_as_anybody_where_nothing_can_be_written(place, program, redis_url, sender):
    assert "Usage: evtools" in without_rights(place, program, ["help"]).stdout
    dump = texts("CONTAINERS")[0].splitlines()[-1].replace(BROKER, redis_url)
    arguments = shlex.split(dump)[shlex.split(dump).index("dump") :]
    with beating(sender(redis_url)):
        done = without_rights(place, program, arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"w1@app"') == 5
