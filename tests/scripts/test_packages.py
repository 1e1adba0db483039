"""The .deb and the .rpm: installed, upgraded and removed on a copy of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bundle
import packages
from binary import Built, Commit

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"deb": "evtools_{}_amd64.deb", "rpm": "evtools-{}-1.x86_64.rpm"}


def make(folder, version, when=10**9):
    """Return a folder with the packages of a program that says its version and no more."""
    program = folder / "made" / "evtools"
    (program / "_internal").mkdir(parents=True)
    (program / "_internal" / "libc-user.so").write_bytes(b"\x7fELF\0GLIBC_2.28\0")
    # Within the folder, as libraries have it.
    (program / "_internal" / "evtools").symlink_to("libc-user.so")
    script = program / "evtools"
    script.write_text(f"#!/bin/sh\necho evtools {version}\n")
    script.chmod(0o755)
    single = folder / f"evtools-{version}-linux-x86_64"
    built = Built(version, single, single, program, Path(sys.executable), Commit("abc", when))
    bundle.lay_out(ROOT, program, built.tree)
    (built.tree / "CONTENTS.txt").touch()
    (built.tree / "licences").mkdir()
    (folder / "dist").mkdir()
    packages.make(built, folder / "dist")
    return folder / "dist"


@pytest.fixture(scope="module")
def dists(tmp_path_factory):
    """Those of an old version and of a new one."""
    versions = ("9.8.7", "9.8.10")
    return {each: make(tmp_path_factory.mktemp("packages"), each) for each in versions}


def test_they_depend_on_contents_and_on_the_date_of_the_commit_only(dists, tmp_path):
    before = os.umask(0o077)
    try:
        again = make(tmp_path, "9.8.7")
    finally:
        os.umask(before)
    for name in NAMES.values():
        path = name.format("9.8.7")
        assert (again / path).read_bytes() == (dists["9.8.7"] / path).read_bytes()


def test_the_deb_names_what_it_needs(dists):
    path = dists["9.8.7"] / NAMES["deb"].format("9.8.7")
    words = ["dpkg-deb", "--field", str(path)]
    fields = subprocess.check_output(words, text=True)
    for line in ("Version: 9.8.7", "Architecture: amd64", "Depends: libc6 (>= 2.28), passwd"):
        assert f"{line}\n" in fields
    assert ("Homepage: " in fields) == bool(bundle.address(ROOT))


# A root file system in which this machine's own is read, and what is written is forgotten.
_COPY = """
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount --bind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
for folder in "$2" "$3"; do mkdir -p "$1/root$folder"; mount --bind "$folder" "$1/root$folder"; done
exec chroot "$1/root" /bin/sh -euc "$4"
"""

# Of systemd there is what makes users and folders, or nothing; and what it is asked is seen.
_SYSTEMD = """
exec 2>&1
mkdir -p /run/systemd/system
rm -f $(command -v systemctl) {absent}
printf '#!/bin/sh\\necho "systemctl $*"\\n' >/usr/bin/systemctl
chmod 755 /usr/bin/systemctl
"""
_STEPS = """
echo = install
{install} {old}
evtop
id -un evcam
stat -c '%U %a %n' /run/evcam /var/log/evcam /var/lib/evcam
grep ^User= /usr/lib/systemd/system/evcam.service
readlink /usr/share/bash-completion/completions/evtop /usr/lib/evtools/_internal/evtools
echo shot >/var/lib/evcam/tasks.db
echo '# mine' >>/etc/xdg/evtools/evtools.toml
echo = upgrade
{upgrade} {new}
evtop
tail -n 1 /etc/xdg/evtools/evtools.toml
cat /var/lib/evcam/tasks.db
echo = remove
{remove} evtools
cat /var/lib/evcam/tasks.db
echo = purge
{purge}
ls -d /usr/lib/evtools /usr/bin/evtop /etc/evtools /var/lib/evcam | cat
"""
_TOOLS = {
    "deb": {
        "install": "dpkg --no-triggers -i",
        "upgrade": "dpkg --no-triggers -i",
        "remove": "dpkg --no-triggers -r",
        "purge": "dpkg --no-triggers -P evtools",
        "absent": "",
    },
    # Other packages are none of an rpm's on a machine with dpkg.
    "rpm": {
        "install": "rpm -i --nodeps",
        "upgrade": "rpm -U --nodeps",
        "remove": "rpm -e",
        "purge": ":",
        "absent": "$(command -v systemd-sysusers) $(command -v systemd-tmpfiles)",
    },
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_package_comes_is_upgraded_and_goes(kind, dists, tmp_path):
    old, new = (dist / NAMES[kind].format(version) for version, dist in dists.items())
    script = (_SYSTEMD + _STEPS).format(old=old, new=new, **_TOOLS[kind])
    words = ["unshare", "--mount", "sh", "-euc", _COPY, "sh"]
    words += [str(tmp_path), str(old.parent), str(new.parent), script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    parts = dict(part.split("\n", 1) for part in done.stdout.split("= ")[1:])
    steps = {name: part.splitlines() for name, part in parts.items()}
    assert set(steps) == {"install", "upgrade", "remove", "purge"}, done.stdout + done.stderr

    def asked(step):
        return [line for line in steps[step] if line.startswith("systemctl ")]

    # Nobody has named a broker yet.
    assert asked("install") == ["systemctl daemon-reload"]
    assert steps["install"][-8:] == [
        *("evtools 9.8.7", "evcam", "evcam 755 /run/evcam"),
        *("evcam 750 /var/log/evcam", "evcam 750 /var/lib/evcam"),
        *("User=evcam", "evtools", "libc-user.so"),
    ]
    assert asked("upgrade") == ["systemctl daemon-reload", "systemctl try-restart evcam.service"]
    assert steps["upgrade"][-3:] == ["evtools 9.8.10", "# mine", "shot"]
    assert asked("remove") == [
        *("systemctl stop evcam.service", "systemctl --quiet disable evcam.service"),
        "systemctl daemon-reload",
    ]
    assert "shot" in steps["remove"]
    left = [line.split("'")[1] for line in steps["purge"] if "cannot access" in line]
    gone = ["/usr/lib/evtools", "/usr/bin/evtop", "/etc/evtools"]
    assert left == (gone if kind == "rpm" else [*gone, "/var/lib/evcam"])
