"""What was built, installed as evtools-install(7) says, and from the tarball where it runs.

The commands run on this machine. The container's image is made in the root
file system if there is one, and started as its user with nothing to write to; without,
it is a folder, and the user is ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from evtools import __version__
from tools.command import ROOT, Starter
from tools.frozen import TOOLS
from tools.image import Image, docker_run
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


def test_the_tarball_is_installed_and_goes_again(machine):
    (install,), (remove,) = texts("TARBALL"), texts("REMOVING")
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
def image(place, dist, tmp_path):
    """The image of the Dockerfile in evtools-install(7)."""
    root = place.root or tmp_path / "image"
    (dockerfile,) = texts("CONTAINER", "dockerfile")
    (name,) = (path.name for path in dist.glob("*.tar.xz"))
    yield Image(dockerfile, dist, root)
    shutil.rmtree(root / "opt" / name.removesuffix(".tar.xz"))


# A root file system in which nothing can be written; /proc and /dev are as ever.
_READ_ONLY = """
mount --bind "$1" "$1"
mount --rbind /dev "$1/dev"
mount --bind /proc "$1/proc"
mount -o remount,bind,ro "$1"
shift
exec "$@"
"""


def in_image(place, image, arguments):
    """Run what `docker run` would; return how it ended."""
    program, *words = image.argv(arguments)
    if place.root is None:
        return place.run(f"{image.root}{program}", *words)
    assert os.geteuid() == 0
    root = str(place.root)
    before = [
        *("unshare", "--mount", "sh", "-euc", _READ_ONLY, "sh", root),
        *("chroot", f"--userspec={image.user}", root, program, *words),
    ]
    return subprocess.run(
        before,
        env={"PATH": os.environ["PATH"] + ":/usr/sbin", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_a_container_runs_what_it_is_told(place, image, redis_url, sender):
    assert "Usage: evtools" in in_image(place, image, []).stdout
    dump = texts("CONTAINER")[0].splitlines()[-1].replace(BROKER, redis_url)
    options, arguments = docker_run(dump, "evtools")
    assert "host" in options
    with beating(sender(redis_url)):
        done = in_image(place, image, arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"w1@app"') == 5
