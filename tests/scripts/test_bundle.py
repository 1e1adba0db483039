import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

import bundle
from binary import Built, Commit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def program(tmp_path):
    """A folder like the one that is frozen."""
    folder = tmp_path / "made" / "evtools"
    (folder / "_internal").mkdir(parents=True)
    (folder / "_internal" / "base.txt").write_text("base")
    script = folder / "evtools"
    script.write_text("#!/bin/sh\necho evtools 9.8.7\n")
    script.chmod(0o755)
    return folder


@pytest.fixture
def tree(program, tmp_path):
    bundle.lay_out(ROOT, program, tmp_path / "evtools-9.8.7")
    return tmp_path / "evtools-9.8.7"


def test_the_folder_has_links_pages_and_the_installer(tree):
    for tool in bundle.TOOLS:
        assert (tree / "bin" / tool).resolve() == tree / "lib" / "evtools"
    assert (tree / "share/man/man1/evtop.1").is_file()
    assert (tree / "share/man/man7/evfilter.7").is_file()
    assert os.access(tree / "install.sh", os.X_OK)


def test_the_address_of_the_project_is_where_one_looks_for_it(program, tmp_path, monkeypatch):
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[project]\nname = "x"\n')
    assert bundle.address(tmp_path) == ""
    settings.write_text('[project.urls]\nHomepage = "https://evtools.example"\n')
    found = bundle.address(tmp_path)
    monkeypatch.setattr(bundle, "address", lambda _: found)
    bundle.lay_out(ROOT, program, tmp_path / "tree")
    page = (tmp_path / "tree/share/man/man1/evtools.1").read_text()
    assert page.endswith("Report them at https://evtools.example\n")


def test_a_tarball_depends_on_names_and_contents_only(tree, tmp_path):
    first, second = tmp_path / "1.tar.xz", tmp_path / "2.tar.xz"
    bundle.pack(tree, first, date=1_000_000_000, preset=9)
    os.utime(tree / "README.md", (5, 5))
    (tree / "README.md").chmod(0o600)
    bundle.pack(tree, second, date=1_000_000_000, preset=9)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        entries = {entry.name: entry for entry in archive}
    assert entries["evtools-9.8.7/lib/evtools"].mode == 0o755
    assert entries["evtools-9.8.7/README.md"].mode == 0o644
    assert {(entry.uid, entry.mtime) for entry in entries.values()} == {(0, 1_000_000_000)}


def test_everything_published_has_its_checksum(program, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle.contents, "parts", lambda _: [])
    monkeypatch.setattr(bundle.contents, "table", lambda *_: "nothing\n")
    single = program.parent / "evtools-9.8.7-linux-x86_64"
    single.write_text("program")
    wheel = program.parent / "evtools-9.8.7-py3-none-any.whl"
    wheel.write_text("package")
    built = Built("9.8.7", wheel, single, program, Path("python"), Commit("abc", 10**9))
    written = bundle.publish(built, tmp_path / "dist")
    assert sorted(path.name for path in written) == [
        "SHA256SUMS",
        "evtools-9.8.7-linux-x86_64",
        "evtools-9.8.7-linux-x86_64.contents.txt",
        "evtools-9.8.7-linux-x86_64.tar.xz",
        "evtools-9.8.7-py3-none-any.whl",
    ]
    sums = (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(b"program").hexdigest()
    assert f"{digest}  evtools-9.8.7-linux-x86_64" in sums


# --- What install.sh makes of it


@pytest.fixture
def install(tree, tmp_path):
    def run(*arguments, status=0, **environ):
        prefix = tmp_path / "prefix"
        words = [str(tree / "install.sh"), "--prefix", str(prefix), *arguments]
        env = {**os.environ, **environ}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return prefix

    return run


def files(folder):
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def test_what_is_installed_runs_and_goes_again(install):
    prefix = install()
    told = subprocess.run([prefix / "bin" / "evtop", "-V"], capture_output=True, check=True)
    assert told.stdout == b"evtools 9.8.7\n"
    assert (prefix / "share/man/man1/evdump.1").is_file()
    assert (prefix / "share/bash-completion/completions/evtop").is_file()
    assert (prefix / "share/fish/vendor_completions.d/evcam.fish").is_file()
    assert (prefix / "share/zsh/site-functions/_evtools").is_file()
    install("--uninstall")
    assert not prefix.exists()


def test_what_others_have_put_there_stays(install, tmp_path):
    (tmp_path / "prefix" / "share" / "man").mkdir(parents=True)
    prefix = install()
    (prefix / "bin" / "other").touch()
    install()
    install("--uninstall")
    left = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*"))
    assert left == ["bin", "bin/other", "share", "share/man"]


def test_the_next_version_takes_over_and_the_first_stays(install, tree):
    prefix = install()
    first = (prefix / "bin" / "evtop").resolve()
    script = tree / "lib" / "evtools"
    script.write_text(script.read_text().replace("9.8.7", "9.9.0"))
    install()
    now = (prefix / "bin" / "evtop").resolve()
    assert first.is_file()
    assert now != first
    assert "9.9.0" in now.read_text()


def test_the_same_version_can_be_installed_again(install):
    assert set(files(install())) == set(files(install()))


def test_what_an_earlier_version_put_where_it_fails_goes(install, tree):
    (tree / "logrotate.d").mkdir(exist_ok=True)
    (tree / "logrotate.d" / "evcam").write_text("weekly\n")
    prefix = install()
    rotation = prefix / "etc" / "logrotate.d" / "evcam"
    folders = prefix / "lib" / "tmpfiles.d" / "evcam.conf"
    for path in (rotation, folders):
        assert not path.exists()
        path.parent.mkdir(parents=True)
        with (prefix / "lib" / "evtools" / "installed").open("a") as listed:
            listed.write(f"{path}\n")
    rotation.write_text("weekly\n")
    folders.symlink_to(prefix / "lib/evtools/current/tmpfiles.d/evcam.conf")
    install()
    assert not rotation.exists()
    assert not folders.is_symlink()
    # Unless the administrator has changed it.
    rotation.write_text("daily\n")
    install()
    assert rotation.read_text() == "daily\n"


def test_the_unit_names_the_program_that_was_installed(install, tree):
    (tree / "systemd").mkdir(exist_ok=True)
    unit = tree / "systemd" / "evcam.service"
    unit.write_text("ExecStart=/usr/bin/evcam -c x\n")
    prefix = install()
    installed = prefix / "lib/systemd/system/evcam.service"
    assert installed.read_text() == f"ExecStart={prefix}/bin/evcam -c x\n"


def test_makers_of_packages_have_their_own_root(install, tmp_path):
    stage = tmp_path / "stage"
    prefix = install(DESTDIR=str(stage))
    assert not prefix.exists()
    link = stage / prefix.relative_to("/") / "bin" / "evtop"
    assert str(link.readlink()).startswith(str(prefix))
    install("--uninstall", DESTDIR=str(stage))
    assert list(stage.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--prefix"], ["--prefix", "here"], ["--bogus"]])
def test_wrong_words_install_nothing(install, arguments):
    assert not install(*arguments, status=2).exists()


def test_what_is_not_there_cannot_be_removed(install):
    install("--uninstall", status=1)
