"""Makes the .deb and the .rpm of what was built: nfpm, which writes both, is pinned."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from string import Template
from typing import TYPE_CHECKING

import bundle
import contents

if TYPE_CHECKING:
    from pathlib import Path

    from binary import Built

#: What Debian, Go and containers call a machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# From the folder that the tarball has, to where a package has it. Debian and Red Hat differ
# in where zsh looks, and both are right nowhere else.
PLACES = (
    ("lib", "usr/lib/evtools"),
    ("share/completions/bash", "usr/share/bash-completion/completions"),
    ("share/completions/fish", "usr/share/fish/vendor_completions.d"),
    ("share/completions/zsh", "usr/share/zsh/{zsh}"),
    ("sysusers.d", "usr/lib/sysusers.d"),
    ("tmpfiles.d", "usr/lib/tmpfiles.d"),
    ("recipes", "usr/share/doc/evtools/recipes"),
    ("prometheus", "usr/share/doc/evtools/prometheus"),
    ("kubernetes", "usr/share/doc/evtools/kubernetes"),
    ("licences", "usr/share/doc/evtools/licences"),
    ("README.md", "usr/share/doc/evtools/README.md"),
    ("CONTENTS.txt", "usr/share/doc/evtools/CONTENTS.txt"),
)
_ZSH = {"deb": "vendor-completions", "rpm": "site-functions"}
_COPYRIGHT = "What is inside has licences of its own: see CONTENTS.txt and licences here.\n\n"


def make(built: Built, dist: Path) -> None:
    """Write both packages into `dist`."""
    arch = ARCHITECTURES[built.machine]
    files = {
        "deb": dist / f"evtools_{built.version}_{arch}.deb",
        "rpm": dist / f"evtools-{built.version}-1.{built.machine}.rpm",
    }
    packaging = built.root / "packaging"
    stage = built.tree.parent / "stage"
    for kind, path in files.items():
        lay_out(built.tree, stage, kind)
        for each in stage.rglob("*"):
            os.utime(each, (built.commit.date,) * 2, follow_symlinks=False)
            if not each.is_symlink():
                is_program = os.access(each, os.X_OK) and ".so" not in each.name
                each.chmod(0o755 if is_program else 0o644)
        values = {
            "version": built.version,
            "arch": arch,
            "release": {"deb": "", "rpm": "1"}[kind],
            "glibc": ".".join(map(str, max(contents.glibc(built.folder).values()))),
            "homepage": bundle.address(built.root),
            "date": f"{built.commit.when:%Y-%m-%dT%H:%M:%SZ}",
            "stage": stage,
            "packaging": packaging,
        }
        settings = stage.with_suffix(".yaml")
        settings.write_text(Template((packaging / "nfpm.yaml").read_text()).substitute(values))
        words = [str(built.python.parent / "nfpm"), "package", "--config", str(settings)]
        words += ["--packager", kind, "--target", str(path)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(built.commit.date)}
        # Not where we are: it takes a link to evtools for the folder of that name here.
        subprocess.run(words, check=True, env=environment, cwd=stage, stdout=subprocess.PIPE)
    shutil.rmtree(stage)


def lay_out(tree: Path, stage: Path, kind: str) -> None:
    """Arrange the root that a package of a kind, deb or rpm, unpacks to."""
    shutil.rmtree(stage, ignore_errors=True)
    for source, target in PLACES:
        path = stage / target.format(zsh=_ZSH[kind])
        path.parent.mkdir(parents=True, exist_ok=True)
        if (tree / source).is_dir():
            shutil.copytree(tree / source, path, symlinks=True)
        else:
            shutil.copy(tree / source, path)
    (stage / "usr/bin").mkdir()
    for tool in bundle.TOOLS:
        (stage / "usr/bin" / tool).symlink_to("../lib/evtools/evtools")
    documents = stage / "usr/share/doc/evtools"
    (documents / "copyright").write_text(_COPYRIGHT + (tree / "LICENSE").read_text())
    compress(tree / "CHANGELOG.md", documents / "changelog.gz")
    for page in (tree / "share/man").glob("man?/*"):
        compress(page, stage / "usr" / page.relative_to(tree).with_suffix(f"{page.suffix}.gz"))
    unit = stage / "usr/lib/systemd/system/evcam.service"
    unit.parent.mkdir(parents=True)
    # The user is there, whom evcam with --detach has, too, and so are its folders.
    text = (tree / "systemd/evcam.service").read_text()
    unit.write_text(text.replace("\nDynamicUser=yes\n", "\nUser=evcam\n"))


def compress(source: Path, target: Path) -> None:
    """Compress a file to bytes that depend on nothing but what is in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
