"""Every command by which the README and evtools-install(7) install it, run as it stands.

What is installed is real but for the frozen program, in place of which is a script that
runs the code of this checkout; `make smoke` does the same with the real one. Replaced
are /usr/local, /etc/evtools and the broker. pip builds and fetches nothing else: what we
depend on is there already.

No systemd and no Docker is asked. In place of systemd the test reads the unit that was
installed, and starts what it names with the credential it names. In place of Podman it
runs what the image would. Packages are installed by tests in root file systems.
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
from tools.machine import BROKER, DEADLINE, Machine, beating, split
from tools.release import NAME, make_stand_in
from tools.shown import PAGES, README, blocks, page, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("evtools", "evtop", "evdump", "evcam")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """What a release publishes."""
    return make_stand_in(tmp_path_factory.mktemp("release"))


@pytest.fixture
def cluster(redis_url, sender) -> Iterator[str]:
    """The address of a broker with one worker that sends heartbeats."""
    with beating(sender(redis_url)):
        yield redis_url


@pytest.fixture
def machine(dist, cluster, tmp_path) -> Iterator[Machine]:
    """A machine to which the release was downloaded, and that has a broker."""
    made = Machine(tmp_path, {BROKER: cluster})
    made.download(dist)
    yield made
    made.end()


# --- The program ------------------------------------------------------------------


def test_the_single_file_is_verified_run_and_kept(machine):
    first, second = texts("SINGLE FILE")
    assert texts("Install")[1] == first
    verify, look = split(first)
    assert f"{NAME}: OK" in machine.run(verify)
    machine.look_at(look)
    assert machine.run(second).startswith(f"evtop {__version__}\n")
    for tool in TOOLS:
        told = machine.run(f"{machine.home}/.local/bin/{tool} -V")
        assert told == f"{tool} {__version__}\n"


@pytest.mark.parametrize("heading", ["SINGLE FILE", "TARBALL"])
def test_what_is_not_what_was_released_is_not_run(heading, dist, machine):
    for path in dist.iterdir():
        if path.name != "SHA256SUMS":
            (machine.folder / path.name).write_bytes(path.read_bytes() + b"#")
    shell = machine.shell(texts(heading)[0])
    assert shell.wait(deadline=DEADLINE) == 1
    assert "FAILED" in shell.stdout
    assert not machine.prefix.exists()


def test_the_tarball_is_installed_and_goes_again(machine):
    (install,), (*_, remove) = texts("TARBALL"), texts("REMOVING")
    assert f"installed in {machine.prefix}/bin" in machine.run(install)
    for tool in TOOLS:
        assert machine.run(f"/usr/local/bin/{tool} -V") == f"{tool} {__version__}\n"
    below(machine.prefix)
    page = (ROOT / "man" / "evtools.1").read_text().replace("\\-", "-")
    named = re.findall(r"^\.I PREFIX/(\S+)$", page, re.MULTILINE)
    assert len(named) > 5
    for path in named:
        assert (machine.prefix / path.replace("VERSION", __version__)).exists()
    machine.path = f"{machine.prefix}/bin:{machine.path}"
    (check,) = texts("VERIFYING")
    # The real program tries itself in tests/smoke.
    selftest, version = check.splitlines()
    assert selftest == "evtools selftest"
    assert f"evtools {__version__}" in machine.run(version)
    machine.run(remove)
    assert not machine.prefix.exists()


def below(prefix: Path) -> None:
    """See that the manual pages and what shells read are where those look."""
    share = prefix / "share"
    for path in (ROOT / "man").iterdir():
        assert (share / f"man/man{path.suffix[1:]}" / path.name).is_file()
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


PIPX, PIP = texts("PIP AND PIPX")[:-1], texts("PIP AND PIPX")[-1]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("line", PIP.splitlines())
def test_pip_installs_tools_pages_and_completions(line, environment, machine):
    # In the checkout, or where the release was downloaded to.
    shell = machine.shell(line, cwd=machine.folder if "./" in line else ROOT)
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
    given = [line for block in [*PIPX, texts("Install")[0]] for line in block.splitlines()]
    without_extras = re.sub(r'"(.*)\[.*\]"', r"\1", PIP)
    assert {line.replace("pipx", "pip", 1) for line in given} == {*without_extras.splitlines()}


# --- Where it runs ----------------------------------------------------------------


def test_systemd_is_told_all_it_needs(machine, cluster, tmp_path):
    machine.run(texts("TARBALL")[0])
    block, _ = texts("SERVICE")
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
    machine.run(texts("TARBALL")[0])
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
    machine.run(texts("TARBALL")[0])
    (dropin,) = texts("SERVICE", "ini")
    (tmp_path / "broker.conf").write_text(dropin)
    (tmp_path / "evcam.env").write_text(f"EVTOOLS_BROKER_URL={cluster}\n")
    machine.run(texts("SERVICE")[1])
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
    machine.run(texts("TARBALL")[0])
    # Every night and at each boot these would fail: there is no such user.
    found = [
        str(path.relative_to(machine.prefix))
        for path in machine.prefix.rglob("*evcam*")
        if path.parent.name in {"logrotate.d", "tmpfiles.d", "sysusers.d"}
        and "lib/evtools" not in str(path)
    ]
    assert found == []
    (block,) = texts("DAEMON")
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


def test_a_container_runs_what_it_is_given(machine):
    machine.run(texts("TARBALL")[0])
    load, screen, dump = texts("CONTAINERS")[0].splitlines()
    assert load == "podman load -i evtools-*-image.tar"
    options, arguments = podman_run(screen)
    assert options == {"--rm", "-it", "--network", "host"}
    machine.look_at(f"exec /usr/local/bin/evtools {arguments}")
    options, arguments = podman_run(dump)
    assert options == {"--rm", "--network", "host"}
    assert machine.run(f"/usr/local/bin/evtools {arguments}").count('"w1@app"') == 5


def podman_run(line: str) -> tuple[set[str], str]:
    """Return the options and the arguments of a `podman run` of the image."""
    before, _, arguments = line.partition(f" localhost/evtools:{__version__} ")
    podman, run, *options = before.split()
    assert (podman, run) == ("podman", "run")
    return set(options), arguments


def test_kubernetes_is_given_what_its_manifests_say():
    manifest = (ROOT / "packaging" / "kubernetes" / "kustomization.yaml").read_text()
    for line in texts("CONTAINERS")[1].splitlines():
        assert f"#   {line}\n" in manifest


# --- What it says -----------------------------------------------------------------


def test_every_block_is_tried():
    tried = {"SINGLE FILE", "TARBALL", "PIP AND PIPX", "CONTAINERS", "SERVICE", "DAEMON"}
    tried |= {"VERIFYING", "REMOVING"}
    # test_readme.py, as it takes a cluster; make rootfs; a restart by systemd.
    elsewhere = {"BESIDE CELERY", "PACKAGES", "UPGRADING"}
    shown = {block.heading for block in blocks() if block.document == "evtools-install.7"}
    assert shown == tried | elsewhere


def test_the_version_is_the_one_of_this_checkout():
    shown = "".join(block.text for block in blocks() if "install" in block.document)
    assert {*re.findall(r"(?<=evtools[-:])\d+\.\d+\.\d+", shown)} == {__version__}


def test_nothing_that_is_pasted_has_a_gap_to_fill():
    assert [text for text in map(page, PAGES) if "OWNER" in text] == []
    assert "OWNER" not in README
