"""The container's image: unpacked, and run as its user where nothing can be written.

Its program is a shell, and its base is made of packages with this machine's C library.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import image
from binary import Built, Commit


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """Packages of the base, by name, with the files that the image takes of each."""
    folder = tmp_path_factory.mktemp("debs")
    library = Path("usr/lib/x86_64-linux-gnu")
    files = {
        "libc6": {library / "libc.so.6": Path("/", "lib", "x86_64-linux-gnu", "libc.so.6")},
        "ca-certificates": {
            Path(f"usr/share/ca-certificates/{each}.crt"): f"-- {each} --\n" for each in "ba"
        },
        "tzdata": {Path("usr/share/zoneinfo/Europe/Berlin"): "TZif2"},
    }
    loader = Path("usr/lib64/ld-linux-x86-64.so.2")
    files["libc6"][loader] = Path("/lib64/ld-linux-x86-64.so.2")
    for entry in tomllib.loads(image.PINS.read_text())["base"]:
        name = entry["package"]
        root = folder / name
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
        copyright_file = Path(f"usr/share/doc/{name}/copyright")
        for path, content in {
            **files.get(name, {}),
            Path("DEBIAN/control"): control,
            copyright_file: "free",
            Path("usr/share/man/not-wanted"): "",
        }.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            is_text = isinstance(content, str)
            (root / path).write_bytes(content.encode() if is_text else content.read_bytes())
            (root / path).chmod(0o644 if is_text else 0o755)
        subprocess.run(
            ["dpkg-deb", "-Znone", "--build", str(root)], check=True, stdout=subprocess.PIPE
        )
    return folder


@pytest.fixture(scope="module")
def make(debs, tmp_path_factory):
    """Make an image for a machine."""

    def make_image(machine):
        folder = tmp_path_factory.mktemp("image")
        program = folder / "made" / "evtools"
        program.mkdir(parents=True)
        (program / "evtools").write_bytes(Path("/bin/dash").read_bytes())
        (program / "evtools").chmod(0o755)
        single = folder / f"evtools-9.8.7-linux-{machine}"
        built = Built(
            *("9.8.7", single, single, program, Path(sys.executable), Commit("abc", 10**9)),
            machine=machine,
        )
        (built.tree / "licences").mkdir(parents=True)
        (built.tree / "lib").symlink_to(program)
        for name in ("LICENSE", "CONTENTS.txt"):
            (built.tree / name).write_text("text")
        image.make(built, folder)
        return folder / "evtools-9.8.7-image.tar"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "fetch", lambda _, entry, __: debs / f"{entry['package']}.deb")
        yield make_image


class Layout:
    """An image as a registry or a container engine reads it."""

    def __init__(self, path):
        with tarfile.open(path) as archive:
            self.files = {entry.name: archive.extractfile(entry).read() for entry in archive}
        (self.top,) = json.loads(self.files["index.json"])["manifests"]
        self.images = {
            each["platform"]["architecture"]: json.loads(self.blob(each))
            for each in json.loads(self.blob(self.top))["manifests"]
        }

    def blob(self, descriptor):
        """Return what a descriptor refers to, if it is that."""
        kind, _, digest = descriptor["digest"].partition(":")
        content = self.files[f"blobs/{kind}/{digest}"]
        assert hashlib.sha256(content).hexdigest() == digest
        assert len(content) == descriptor["size"]
        return content

    def unpack(self, architecture, folder):
        """Unpack the layers; return the configuration."""
        manifest = self.images[architecture]
        for number, layer in enumerate(manifest["layers"]):
            packed = folder.parent / f"{number}.tar.gz"
            packed.write_bytes(self.blob(layer))
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="fully_trusted")
        config = json.loads(self.blob(manifest["config"]))
        assert config["architecture"] == architecture
        return config["config"]


_READ_ONLY = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
shift
exec env -i "$@"
"""
_LOOK = """
echo $LANG $(/usr/bin/evtop -c "echo as another name")
while read line; do echo "$line"; done < /etc/ssl/certs/ca-certificates.crt
read line < /usr/share/zoneinfo/Europe/Berlin || echo $line
echo > $HOME/new || echo as it should be
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run an image")
def test_it_runs_as_a_user_of_its_own_and_writes_nothing(make, tmp_path):
    root = tmp_path / "root"
    config = Layout(make("x86_64")).unpack("amd64", root)
    user = config["User"]
    assert all(number.isdecimal() and int(number) for number in user.split(":"))
    home = next(value[5:] for value in config["Env"] if value.startswith("HOME="))
    assert f"{(root / home[1:]).stat().st_uid}" == user.split(":")[0]
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert not (root / "usr/share/man").exists()
    words = ["unshare", "--mount", "sh", "-euc", _READ_ONLY, "sh", str(root), *config["Env"]]
    words += ["/usr/sbin/chroot", f"--userspec={user}", str(root), *config["Entrypoint"]]
    done = subprocess.run([*words, "-c", _LOOK], capture_output=True, text=True, check=False)
    lines = ["C.UTF-8 as another name", "-- a --", "-- b --", "TZif2", "as it should be"]
    assert done.stdout.splitlines() == lines, done.stderr
    assert "Read-only file system" in done.stderr


def test_it_is_the_same_each_time_and_holds_both_machines_in_the_end(make, tmp_path):
    ours, other = make("x86_64"), make("aarch64")
    assert ours.read_bytes() == make("x86_64").read_bytes()
    assert set(Layout(ours).images) == {"amd64"}
    joined = tmp_path / "evtools-9.8.7-image.tar"
    image.join([ours, other], joined)
    layout = Layout(joined)
    assert set(layout.images) == {"amd64", "arm64"}
    (tmp_path / "root").mkdir()
    config = layout.unpack("arm64", tmp_path / "root")
    assert config["Labels"]["org.opencontainers.image.version"] == "9.8.7"
    assert "" not in config["Labels"].values()
    # What `docker load` takes instead of the index.
    (first,) = json.loads(layout.files["manifest.json"])
    assert json.loads(layout.files[first["Config"]])["architecture"] == "amd64"
    assert set(first["Layers"]) <= set(layout.files)


def test_each_package_of_the_base_is_pinned_for_both_machines():
    for entry in tomllib.loads(image.PINS.read_text())["base"]:
        assert set(entry["files"]) in ({"all"}, {"x86_64", "aarch64"})
        assert all(len(digest) == 64 for digest in entry["files"].values())
