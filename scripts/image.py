"""Makes the container's image: a tar of an OCI layout, with a base of few Debian packages."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from typing import TYPE_CHECKING, Any

import interpreter
from binary import PACKAGING
from bundle import TOOLS, address, write_tar
from packages import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from binary import Built

PINS = PACKAGING / "image.toml"
#: Who runs it: a number, so that Kubernetes can see that it is not root.
USER = 65532
HOME = "/var/lib/evcam"

_FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/\nevcam:x:{USER}:{USER}:evcam:{HOME}:/\n",
    "etc/group": f"root:x:0:\nevcam:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    # By this, scanners know whose packages those of var/lib/dpkg are.
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="evtools on Debian 13"\n',
}
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", HOME[1:])
_OF_ITS_OWN = {"tmp": (0o1777, 0), HOME[1:]: (0o755, USER)}
_MEDIA = "application/vnd.oci.image"


def make(built: Built, dist: Path) -> None:
    """Write the image for the machine that was built for into `dist`."""
    work = built.tree.parent / "image"
    shutil.rmtree(work, ignore_errors=True)
    cache = interpreter.cache_folder(os.environ)
    lay_out_base(cache, built.machine, work / "base")
    lay_out_program(built.tree, work / "program")
    # The base has no date, so that it is the same in many releases.
    layers = [
        _layer(work / "base", date=0, special=_OF_ITS_OWN),
        _layer(work / "program", date=built.commit.date),
    ]
    blobs = _Blobs()
    manifest = blobs.add_json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": blobs.add_json(_config(built, layers), "config"),
            "layers": [blobs.add(gzip.compress(layer, mtime=0), "layer") for layer in layers],
        },
        "manifest",
    )
    platform = {"architecture": ARCHITECTURES[built.machine], "os": "linux"}
    write(dist / f"evtools-{built.version}-image.tar", blobs, [{**manifest, "platform": platform}])
    shutil.rmtree(work)


def lay_out_base(cache: Path, machine: str, root: Path) -> None:
    """Arrange what programs need: C library, certificates, zones, terminals and a user."""
    root.mkdir(parents=True)
    for entry in tomllib.loads(PINS.read_text())["base"]:
        deb = fetch(cache, entry, machine)
        unpacked = root.parent / entry["package"]
        subprocess.run(["dpkg-deb", "--extract", str(deb), str(unpacked)], check=True)
        for pattern in (*entry["take"], "usr/share/doc/*/copyright"):
            for path in unpacked.glob(pattern):
                target = root / path.relative_to(unpacked)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, symlinks=True)
                else:
                    shutil.copy(path, target, follow_symlinks=False)
        fields = subprocess.check_output(["dpkg-deb", "--field", str(deb)])
        _write(root / "var/lib/dpkg/status.d" / entry["package"], fields)
    authorities = root / "usr/share/ca-certificates"
    bundle = b"".join(path.read_bytes() for path in sorted(authorities.rglob("*.crt")))
    _write(root / "etc/ssl/certs/ca-certificates.crt", bundle)
    shutil.rmtree(authorities)
    for name, text in _FILES.items():
        _write(root / name, text.encode())
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)


def fetch(cache: Path, entry: Mapping[str, Any], machine: str) -> Path:
    """Have a package of the base for a machine in the cache."""
    kind = "all" if "all" in entry["files"] else machine
    arch = ARCHITECTURES.get(kind, kind)
    name = f"{entry['package']}_{entry['version']}_{arch}.deb"
    (deb,) = interpreter.fetch_package(cache, entry["source"], {name: entry["files"][kind]})
    return deb


def lay_out_program(tree: Path, root: Path) -> None:
    """Arrange the program, from the folder of the tarball, and its licences."""
    shutil.copytree(tree / "lib", root / "usr/lib/evtools", symlinks=True)
    documents = root / "usr/share/doc/evtools"
    shutil.copytree(tree / "licences", documents / "licences")
    for name in ("LICENSE", "CONTENTS.txt"):
        shutil.copy(tree / name, documents)
    (root / "usr/bin").mkdir()
    for tool in TOOLS:
        (root / "usr/bin" / tool).symlink_to("../lib/evtools/evtools")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _layer(folder: Path, **how: Any) -> bytes:
    packed = io.BytesIO()
    write_tar(packed, folder, **how)
    return packed.getvalue()


def _config(built: Built, layers: Iterable[bytes]) -> dict[str, Any]:
    created = f"{built.commit.when:%Y-%m-%dT%H:%M:%SZ}"
    labels = {
        "created": created,
        "description": "Watch Celery clusters through their event stream",
        "licenses": "MIT",
        "revision": built.commit.name,
        "source": address(built.root),
        "title": "evtools",
        "version": built.version,
    }
    return {
        "created": created,
        "architecture": ARCHITECTURES[built.machine],
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": ["PATH=/usr/bin", "LANG=C.UTF-8", f"HOME={HOME}"],
            "Entrypoint": ["/usr/bin/evtools"],
            "Cmd": ["help"],
            "WorkingDir": HOME,
            "Labels": {f"org.opencontainers.image.{key}": v for key, v in labels.items() if v},
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
        "history": [{"created": created, "created_by": name} for name in ("Debian 13", "evtools")],
    }


class _Blobs(dict[str, bytes]):
    """What an image consists of, by the path in its layout."""

    def add(self, content: bytes, kind: str) -> dict[str, Any]:
        """Add one; return what refers to it."""
        digest = hashlib.sha256(content).hexdigest()
        self[f"blobs/sha256/{digest}"] = content
        end = "tar+gzip" if kind == "layer" else "json"
        media = f"{_MEDIA}.{kind}.v1{'.' if kind == 'layer' else '+'}{end}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, content: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """Add what is written as JSON; return what refers to it."""
        return self.add(json.dumps(content, sort_keys=True).encode(), kind)

    def get_json(self, descriptor: Mapping[str, Any]) -> Any:
        """Return what `add_json` was given."""
        return json.loads(self[_path(descriptor)])


def _path(descriptor: Mapping[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


def write(target: Path, blobs: _Blobs, manifests: list[dict[str, Any]]) -> None:
    """Write the layout with an index of images; the first is the one `docker load` takes."""
    version = target.name.split("-")[1]
    index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}.index.v1+json", "manifests": manifests}
    names = {
        "io.containerd.image.name": f"localhost/evtools:{version}",
        "org.opencontainers.image.ref.name": version,
    }
    top = {**index, "manifests": [{**blobs.add_json(index, "index"), "annotations": names}]}
    first = blobs.get_json(manifests[0])
    loaded = {
        "Config": _path(first["config"]),
        "RepoTags": [f"localhost/evtools:{version}"],
        "Layers": [_path(layer) for layer in first["layers"]],
    }
    files = {
        **blobs,
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(top, sort_keys=True).encode(),
        "manifest.json": json.dumps([loaded], sort_keys=True).encode(),
    }
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def join(images: Iterable[Path], target: Path) -> None:
    """Write one layout with the images of several, one for each machine."""
    blobs, manifests = _Blobs(), []
    for image in images:
        with tarfile.open(image) as archive:
            found = {entry.name: archive.extractfile(entry) for entry in archive}
            read = {name: file.read() for name, file in found.items() if file}
        (top,) = json.loads(read["index.json"])["manifests"]
        index = json.loads(read.pop(_path(top)))
        manifests += index["manifests"]
        blobs |= {name: data for name, data in read.items() if name.startswith("blobs/")}
    write(target, blobs, manifests)
