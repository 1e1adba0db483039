"""What the interpreter of a release does while PGO counts how often it does what.

Two builds come out alike only if both counted the same. So these are the tests of
CPython that do the same each time: what starts a process or a thread, or takes a name
at random, is refused, and ends the build.
"""

import random
import sys
import unittest

TESTS = (
    *("augassign", "binascii", "binop", "bisect", "bool", "codecs", "collections"),
    *("compare", "complex", "contains", "copy", "dataclasses", "decorators"),
    *("defaultdict", "deque", "dict", "difflib", "extcall", "float", "fnmatch"),
    *("heapq", "html", "ipaddress", "iter", "listcomps", "long", "memoryview"),
    *("operator", "pprint", "property", "range", "scope", "shlex", "slice"),
    *("string", "textwrap", "tuple", "typing", "unpack", "urlparse", "with"),
)
#: Events of `sys.addaudithook` after which nothing need be as it was.
REFUSED = {
    *("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system"),
    *("_thread.start_new_thread", "_thread.start_joinable_thread"),
    *("tempfile.mkdtemp", "tempfile.mkstemp"),
}


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Raise RuntimeError for what does not do the same each time."""
    if event in REFUSED:
        raise RuntimeError(f"{event}{arguments}: not in a training")


class Result(unittest.TestResult):
    """What failed, and not how long it took: numbers that differ are kept otherwise."""

    def addDuration(self, test: unittest.TestCase, elapsed: float) -> None:  # noqa: N802
        """Forget it."""


def train() -> Result:
    """Run the tests; return what could not be run among their errors."""
    sys.addaudithook(refuse)
    random.seed(1)
    names = [f"test.test_{name}" for name in TESTS]
    result = Result()
    unittest.defaultTestLoader.loadTestsFromNames(names).run(result)
    return result


if __name__ == "__main__":
    for test, reason in (errors := train().errors):
        sys.stderr.write(f"{test}: {reason}\n")
    sys.exit(bool(errors))
