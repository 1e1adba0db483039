"""Every command by which the README installs evtools, run as it stands there.

What is installed is real but for the frozen program, in place of which is a script that
runs the code of this checkout; `make smoke` does the same with the real one. Replaced
are the address of the release, which is served on loopback, /usr/local, /etc/evtools
and the broker. pip builds and fetches nothing else: what we depend on is there already.

No systemd and no Docker is asked. In place of systemd the test reads the unit that was
installed, and starts what it names with the credential it names. In place of Docker it
does in a folder what the Dockerfile says, without changing the user or the root.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from evtools import __version__
from tools.command import ROOT
from tools.image import Image, docker_run
from tools.machine import BROKER, DEADLINE, Machine, beating, split
from tools.readme import README, blocks, texts
from tools.release import ADDRESS, NAME, make_stand_in, served

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("evtools", "evtop", "evdump", "evcam")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """What a release publishes."""
    return make_stand_in(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def address(dist) -> Iterator[str]:
    """Where it is published."""
    with served(dist) as url:
        yield url


@pytest.fixture
def cluster(redis_url, sender) -> Iterator[str]:
    """The address of a broker with one worker that sends heartbeats."""
    with beating(sender(redis_url)):
        yield redis_url


@pytest.fixture
def machine(address, cluster, tmp_path) -> Iterator[Machine]:
    """A machine that can fetch the release and has a broker."""
    made = Machine(tmp_path, {ADDRESS: address, BROKER: cluster})
    yield made
    made.end()


# --- The program ------------------------------------------------------------------


def test_the_single_file_is_fetched_checked_run_and_kept(machine):
    first, second = texts("A single file")
    fetch, look = split(first)
    assert f"{NAME}: OK" in machine.run(fetch)
    machine.look_at(look)
    assert machine.run(second).startswith(f"evtop {__version__}\n")
    for tool in TOOLS:
        told = machine.run(f"{machine.home}/.local/bin/{tool} -V")
        assert told == f"{tool} {__version__}\n"


@pytest.mark.parametrize("heading", ["A single file", "The tarball"])
def test_what_is_not_what_was_released_is_not_run(heading, dist, machine, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in dist.iterdir():
        (other / path.name).write_bytes(path.read_bytes() + b"#")
    (other / "SHA256SUMS").write_bytes((dist / "SHA256SUMS").read_bytes())
    with served(other) as url:
        (tmp_path / "fetched").mkdir()
        block = texts(heading)[0].replace(ADDRESS, url)
        shell = machine.shell(block, cwd=tmp_path / "fetched")
        assert shell.wait(deadline=DEADLINE) == 1
    assert "FAILED" in shell.stdout
    assert not machine.prefix.exists()


def test_the_tarball_is_installed_and_goes_again(machine):
    install, remove = texts("The tarball")
    assert f"installed in {machine.prefix}/bin" in machine.run(install)
    for tool in TOOLS:
        assert machine.run(f"/usr/local/bin/{tool} -V") == f"{tool} {__version__}\n"
    below(machine.prefix)
    page = (ROOT / "man" / "evtools.1").read_text().replace("\\-", "-")
    named = re.findall(r"^\.I PREFIX/(\S+)$", page, re.MULTILINE)
    assert len(named) > 5
    for path in named:
        assert (machine.prefix / path.replace("VERSION", __version__)).exists()
    machine.run(remove)
    assert not machine.prefix.exists()


def below(prefix: Path) -> None:
    """See that the manual pages and what shells read are where those look."""
    share = prefix / "share"
    for page in (ROOT / "man").iterdir():
        assert (share / f"man/man{page.suffix[1:]}" / page.name).is_file()
    for tool in TOOLS:
        assert (share / "bash-completion/completions" / tool).is_file()
        assert (share / "fish/vendor_completions.d" / f"{tool}.fish").is_file()
    assert (share / "zsh/site-functions/_evtools").is_file()


# --- pip --------------------------------------------------------------------------


@pytest.fixture
def environment(machine, tmp_path) -> Path:
    """A fresh virtual environment that has pip and what we depend on, but not us."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    others = tmp_path / "others"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "evtools" not in path.name:
            (others / path.name).symlink_to(path)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(f"{others}\n")
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pip "$@"\n')
    pip.chmod(0o755)
    machine.path = f"{folder}/bin:{machine.path}"
    machine.env |= {
        # No other package is to be fetched, not even what builds ours: an empty index.
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # for pip, this means that it is off
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    return folder


def pip_lines() -> list[str]:
    """Return what the README gives to pip, with the line before that all need."""
    (block,) = texts("pip and pipx")
    url, *lines = block.splitlines()
    return [f"{url}\n{line}" for line in lines if line.startswith("pip ")]


@pytest.mark.parametrize("lines", [*pip_lines(), "pip install ."])
def test_pip_installs_tools_pages_and_completions(lines, environment, machine):
    shell = machine.shell(lines, cwd=ROOT)
    assert shell.wait(deadline=DEADLINE) == 0, shell.stderr
    for tool in TOOLS:
        told = machine.run(f"{tool} -V && command -v {tool}")
        assert told == f"{tool} {__version__}\n{environment}/bin/{tool}\n"
    below(environment)
    machine.look_at(f"evtop -b {BROKER}")
    assert "  evtop " in machine.run("python -m celery --help")
    machine.run("pip uninstall --yes evtools")
    assert [path for path in environment.rglob("ev*") if path.is_file()] == []


def test_pipx_is_given_what_pip_is_given():
    (block,) = texts("pip and pipx")
    (given,) = [line for line in block.splitlines() if line.startswith("pipx ")]
    assert given.replace("pipx", "pip", 1) in block.splitlines()


def test_the_readme_names_this_way_for_a_checkout():
    assert "`pip install .`" in README


# --- Where it runs ----------------------------------------------------------------


def test_systemd_is_told_all_it_needs(machine, cluster, tmp_path):
    machine.run(texts("The tarball")[0])
    block, _ = texts("Under systemd")
    lines = block.splitlines()
    asked = [shlex.split(line) for line in lines if "systemctl" in line]
    (tmp_path / "broker_url").write_text(f"{cluster}\n")
    machine.run("\n".join(line for line in lines if "systemctl" not in line))
    assert asked == [
        ["sudo", "systemctl", "daemon-reload"],
        ["sudo", "systemctl", "enable", "--now", "evcam"],
        ["systemctl", "status", "evcam"],
    ]
    unit = read_unit(machine)
    name, _, credential = unit["LoadCredential"].partition(":")
    credential = Path(machine.ours(credential))
    assert credential.name == name
    assert credential.stat().st_mode & 0o777 == 0o600
    machine.env["CREDENTIALS_DIRECTORY"] = str(credential.parent)
    start(unit["ExecStart"], machine, tmp_path)


def read_unit(machine, *more):
    """Read what systemd would of the unit that was installed, with what is added."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read([machine.prefix / "lib/systemd/system/evcam.service", *more])
    return unit["Service"]


def start(line, machine, folder):
    """Start what a unit says, until it listens."""
    evcam = machine.shell(f"exec {line.replace('/var/lib/evcam', str(folder))}")
    evcam.wait_stderr("listening on", deadline=DEADLINE)
    assert evcam.stop(15) == 0, evcam.stderr
    assert (folder / "tasks.db").is_file()


def test_the_unit_is_what_systemd_understands(machine):
    machine.run(texts("The tarball")[0])
    unit = machine.prefix / "lib/systemd/system/evcam.service"
    # The specifiers of its oldest version; %d is younger than credentials.
    assert "%d" not in unit.read_text()
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "evcam" in line]
    assert (checked.returncode, ours) == (0, []), checked.stderr


def test_an_older_systemd_has_the_address_in_the_environment(machine, cluster, tmp_path):
    machine.run(texts("The tarball")[0])
    (dropin,) = texts("Under systemd", "ini")
    (tmp_path / "broker.conf").write_text(dropin)
    (tmp_path / "evcam.env").write_text(f"EVTOOLS_BROKER_URL={cluster}\n")
    machine.run(texts("Under systemd")[1])
    placed = tmp_path / "systemd/evcam.service.d/broker.conf"
    unit = read_unit(machine, placed)
    environment = Path(machine.ours(unit["EnvironmentFile"]))
    assert environment.stat().st_mode & 0o777 == 0o600
    name, _, value = environment.read_text().strip().partition("=")
    machine.env[name] = value
    start(machine.ours(unit["ExecStart"]), machine, tmp_path)


# --- As a daemon of its own -------------------------------------------------------

# A machine of which /etc, /run, /var/lib and /var/log are its own, where a user evcam
# is ourselves: without root there is no other.
_OF_ITS_OWN = """
mount --bind "$0" /etc
for folder in /run /var/lib /var/log; do mount -t tmpfs none "$folder"; done
exec /bin/bash -euo pipefail -c "$1"
"""


def test_what_needs_a_user_is_installed_when_there_is_one(machine, tmp_path):
    machine.run(texts("The tarball")[0])
    # Every night and at each boot these would fail: there is no such user.
    found = [
        str(path.relative_to(machine.prefix))
        for path in machine.prefix.rglob("*evcam*")
        if path.parent.name in {"logrotate.d", "tmpfiles.d", "sysusers.d"}
        and "lib/evtools" not in str(path)
    ]
    assert found == []
    (block,) = texts("As a daemon of its own")
    useradd, *lines = block.splitlines()
    assert useradd.split()[:2] == ["sudo", "useradd"]
    assert useradd.split()[-1] == "evcam"
    etc = tmp_path / "own-etc"
    for name in ("tmpfiles.d", "logrotate.d"):
        (etc / name).mkdir(parents=True)
    (etc / "passwd").write_text("root:x:0:0::/:/bin/sh\nevcam:x:0:0::/:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nevcam:x:0:\n")
    script = "\n".join(
        [
            *lines,
            "stat -c '%U %a %n' /run/evcam /var/log/evcam /var/lib/evcam",
            "echo line > /var/log/evcam/evcam.log",
            "logrotate --force --state /run/rotated /etc/logrotate.d/evcam",
            "cat /var/log/evcam/evcam.log.1",
            "stat -c '%a %s' /var/log/evcam/evcam.log",
        ]
    )
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    words += ["sh", "-euc", _OF_ITS_OWN, str(etc), machine.ours(script)]
    shell = machine.start(words, env={**machine.env, "PATH": machine.path})
    assert shell.wait(deadline=DEADLINE) == 0, shell.stderr
    assert shell.stdout.splitlines() == [
        *("root 755 /run/evcam", "root 750 /var/log/evcam", "root 750 /var/lib/evcam"),
        *("line", "640 0"),
    ]


def test_a_container_has_the_program_and_what_it_is_told_to_run(machine, dist):
    (dockerfile,) = texts("In a container", "dockerfile")
    (block,) = texts("In a container")
    build, screen, dump = block.splitlines()
    assert build == "docker build -t evtools ."
    image = Image(dockerfile, dist, machine.folder)
    assert (machine.folder / "opt").is_dir()

    def line(arguments: list[str] | None = None) -> str:
        program, *words = image.argv(arguments or [])
        return shlex.join(["exec", f"{machine.folder}{program}", *words])

    assert "Usage: evtools" in machine.run(line())
    options, arguments = docker_run(screen, "evtools")
    assert options == {"--rm", "-it", "--network", "host"}
    machine.look_at(line(arguments))
    options, arguments = docker_run(dump, "evtools")
    assert options == {"--rm", "--network", "host"}
    assert machine.run(line(arguments)).count('"w1@app"') == 5


# --- What it says -----------------------------------------------------------------


def test_every_block_of_the_chapter_is_tried():
    tried = {"A single file", "The tarball", "pip and pipx", "In a container"}
    elsewhere = {"Beside Celery"}  # test_readme.py: it takes a cluster
    chapter = {block.heading for block in blocks() if block.chapter == "Install"}
    assert chapter == tried | elsewhere


def test_the_version_is_the_one_of_this_checkout():
    chapter = README.partition("## Install\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"(?<=[v-])\d+\.\d+\.\d+", chapter))
    assert named == {__version__}
