"""What the workflow of a release calls is there, and it installs what that takes."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import interpreter

ROOT = Path(__file__).resolve().parents[2]
# On every ubuntu runner, as a part of the system or with its compilers.
ON_THE_RUNNER = {"apt", "binutils", "dpkg", "make", "patch", "perl", "util-linux", "xz-utils"}


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())


@pytest.fixture(scope="module")
def jobs(workflow):
    return {name: job["steps"] for name, job in workflow["jobs"].items()}


def lines(steps):
    return [step["run"] for step in steps if "run" in step]


def settings(steps, action):
    """Return what each step with an action gives to it."""
    return [step["with"] for step in steps if step.get("uses", "").startswith(action)]


def test_every_target_is_one_of_the_makefile(jobs):
    makefile = (ROOT / "Makefile").read_text()
    found = {
        name: re.findall(r"^(?:sudo )?make (\w+)", "\n".join(lines(steps)), re.MULTILINE)
        for name, steps in jobs.items()
    }
    assert found == {
        "build": ["release", "smoke", "rootfs"],
        "test": ["test"],
        "join": ["release"],
        "publish": [],
    }
    for target in itertools.chain(*found.values()):
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_nothing_is_published_that_was_not_built_twice_tried_and_joined(workflow, jobs):
    needs = {name: job.get("needs", []) for name, job in workflow["jobs"].items()}
    assert needs["join"] == ["build", "test"]
    assert needs["publish"] == "join"
    machines, builds = workflow["jobs"]["build"]["strategy"]["matrix"].values()
    compare, join = lines(jobs["join"])
    assert f"in {' '.join(machines)};" in compare
    assert [f"build/machines/{builds[0]}-{each}" for each in machines] == re.findall(
        r'[^"= ]+(?=[" ]|$)', join.partition("FROM=")[2]
    )
    # Only that job may write.
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == ["publish"]


def test_an_action_is_named_by_its_commit(jobs):
    used = [step["uses"] for steps in jobs.values() for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each) for each in used)


def test_what_a_release_is_built_with_is_installed_before(jobs):
    needed = {each for value in interpreter.NEEDED.values() for each in value.split()}
    called = lines(jobs["build"])
    (install,) = [line for line in called if "apt-get install" in line]
    installed = set(install.partition("install -y ")[2].split())
    assert needed - installed == ON_THE_RUNNER
    assert installed <= needed
    assert called.index(install) < called.index("make release") < called.index("sudo make smoke")


def test_what_is_passed_on_is_what_was_made(jobs):
    uploads = [settings(jobs[name], "actions/upload-artifact")[0] for name in ("build", "join")]
    assert [each["path"] for each in uploads] == ["dist/", "dist/"]
    (download,) = settings(jobs["publish"], "actions/download-artifact")
    assert (download["name"], download["path"]) == (uploads[1]["name"], "dist")
    called = "\n".join(lines(jobs["publish"]))
    assert (ROOT / re.search(r"--notes-file (\S+)", called)[1]).is_file()
    assert "SMOKE_" not in str(jobs)


def test_the_cache_is_the_one_that_the_build_looks_into(jobs, monkeypatch, tmp_path):
    (cache,) = settings(jobs["build"], "actions/cache@")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(cache["path"]).expanduser() == interpreter.cache_folder({})
    hashed = re.findall(r"'([^']+)'", cache["key"])
    assert {ROOT / name for name in hashed} == set(interpreter.INPUTS)


def test_its_python_is_one_that_we_support(jobs):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = wanted["requires-python"].removeprefix(">=").split(".")
    for steps in jobs.values():
        for each in settings(steps, "actions/setup-python"):
            version = each["python-version"].split(".")
            assert [*map(int, version)] >= [*map(int, least)]
