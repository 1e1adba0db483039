import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import interpreter
from binary import PACKAGING
from tools.release import served


def test_builds_are_kept_where_the_environment_says(tmp_path):
    given = {"EVTOOLS_BUILD_CACHE": str(tmp_path), "XDG_CACHE_HOME": "/elsewhere"}
    assert interpreter.cache_folder(given) == tmp_path
    del given["EVTOOLS_BUILD_CACHE"]
    assert interpreter.cache_folder(given) == Path("/elsewhere/evtools-build")
    assert interpreter.cache_folder({}) == Path.home() / ".cache" / "evtools-build"


def test_another_input_is_another_build():
    assert interpreter.key(b"a", b"b") == interpreter.key(b"a", b"b")
    assert interpreter.key(b"a", b"b") != interpreter.key(b"ab", b"")
    assert interpreter.key(b"a", b"b") != interpreter.key(b"b", b"a")


def test_missing_tools_are_named_with_their_packages():
    interpreter.check_tools(lambda name: f"/usr/bin/{name}")
    with pytest.raises(interpreter.BuildError, match="apt-get install perl tcl"):
        interpreter.check_tools(lambda name: name not in {"perl", "tclsh"})


def test_the_build_sees_the_same_path_wherever_it_is(tmp_path):
    (tmp_path / "made").write_text("here")
    seen = interpreter.SEEN_AT / "made"
    words = [*interpreter.apart(tmp_path), "cat", str(seen)]
    assert subprocess.check_output(words, text=True) == "here"
    assert not seen.exists()


def test_where_that_is_not_allowed_it_says_so(tmp_path, monkeypatch):
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho unshare: not permitted >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(interpreter.BuildError, match=r"not permitted\n.*root"):
        interpreter.apart(tmp_path)


def test_a_pinned_file_is_fetched_by_its_name_wherever_it_is_still_kept(tmp_path):
    name, digest = "openssl_1+2.orig.tar", hashlib.sha256(b"sources").hexdigest()
    kept = tmp_path / "downloads" / name
    with served(tmp_path) as site:
        # The first has newer ones only, the second another file of that name.
        addresses = [f"{site}/{pool}/{name}" for pool in ("main", "other", "snapshot")]
        for pool, content in (("other", b"forged"), ("snapshot", b"sources")):
            (tmp_path / pool).mkdir()
            (tmp_path / pool / name).write_bytes(content)
        with pytest.raises(interpreter.BuildError) as caught:
            interpreter.fetch(kept, digest, addresses[:2])
        assert f"{addresses[0]}: E: " in str(caught.value)
        assert f"{addresses[1]}: another file" in str(caught.value)
        assert not kept.exists()
        interpreter.fetch(kept, digest, addresses)
        assert kept.read_bytes() == b"sources"
        # What an earlier build broke off is no reason to stop.
        kept.write_bytes(b"sour")
        interpreter.fetch(kept, digest, addresses)
    assert kept.read_bytes() == b"sources"
    interpreter.fetch(kept, digest, [])


def test_a_training_that_starts_a_process_ends_with_an_error():
    started = (
        "import subprocess, sys, training;"
        "sys.addaudithook(training.refuse);"
        "subprocess.run(['true'])"
    )
    words = [sys.executable, "-c", started]
    done = subprocess.run(words, cwd=PACKAGING, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "subprocess.Popen('true'" in done.stderr or "os.posix_spawn" in done.stderr
    assert "not in a training" in done.stderr


def test_only_patches_that_upstream_has_are_taken():
    series = ["deb-locations.diff", "CVE-2026-1.patch", "# CVE-2026-2.patch.old", ""]
    assert interpreter.security_patches(series) == ["CVE-2026-1.patch"]


def test_every_pin_has_hashes_and_a_licence_and_is_built():
    pins = tomllib.loads(interpreter.PINS.read_text())
    recipe = interpreter.RECIPE.read_text()
    for source in pins["source"]:
        assert f"\nbuild {source['package']} " in recipe
        assert source["licence"]
        assert source["texts"]
        assert all(len(digest) == 64 for digest in source["files"].values())
    assert {len(digest) for digest in pins["toolchain"]["sha256"].values()} == {64}
    assert pins["pools"]
    assert all(address.startswith("http") for address in interpreter.pools_of_apt())
