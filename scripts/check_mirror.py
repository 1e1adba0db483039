"""Checks that modules and unit tests mirror each other, and that modules say what."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path("evtools")
TESTS = Path("tests/unit")

# A file map has one line per module; what may say more, and why.
MAY_SAY_MORE = {
    PACKAGE / "errors.py": "draws the whole tree of errors",
}


def problems(root: Path) -> Iterator[str]:
    """Yield what is wrong in the repository at root, one line each."""
    modules = sorted(path.relative_to(root) for path in root.glob("evtools/**/*.py"))
    tests = sorted(path.relative_to(root) for path in root.glob("tests/unit/**/*.py"))
    sources = {path: ast.parse((root / path).read_text()) for path in modules}
    yield from missing_tests(sources, set(tests))
    yield from orphaned_tests(sources, tests)
    for path, source in sources.items():
        yield from docstring_problems(path, source)


def missing_tests(modules: dict[Path, ast.Module], tests: set[Path]) -> Iterator[str]:
    """Yield the modules without a twin; an __init__ that only re-exports needs none."""
    for path, source in modules.items():
        if path.name == "__init__.py" and only_exports(source):
            continue
        if twin(path) not in tests:
            yield f"{path}: its test is missing: {twin(path)}"


def orphaned_tests(modules: dict[Path, ast.Module], tests: list[Path]) -> Iterator[str]:
    """Yield the test files that are the twin of nothing."""
    twins = {twin(path) for path in modules}
    for path in tests:
        if path.name.startswith("test_") and path not in twins:
            yield f"{path}: tests no module; its place is beside the module's name"


def twin(module: Path) -> Path:
    """Return the test file of a module: a/b.py has a/test_b.py."""
    name = module.stem.strip("_")
    return TESTS / module.relative_to(PACKAGE).with_name(f"test_{name}.py")


def only_exports(source: ast.Module) -> bool:
    """Say whether there is nothing to test: a docstring, imports and dunder names."""
    return all(_is_export(node) for node in source.body)


def _is_export(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case (
            ast.Assign(targets=[ast.Name(id=name)])
            | ast.AnnAssign(target=ast.Name(id=name))
        ):
            return name.startswith("__") and name.endswith("__")
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return all(_is_export(inner) for inner in node.body)
    return False


def docstring_problems(path: Path, source: ast.Module) -> Iterator[str]:
    """Yield what keeps the docstring of a module from being a line of the file map."""
    text = ast.get_docstring(source)
    if not text:
        yield f"{path}: has no docstring"
        return
    first, *more = text.splitlines()
    if not first.endswith("."):
        yield f"{path}: the first line of its docstring has no full stop"
    if more and path not in MAY_SAY_MORE:
        yield f"{path}: its docstring has more than one line; put the rest in a comment"


def main() -> int:
    """Print the problems and return the exit status."""
    found = list(problems(Path(__file__).resolve().parents[1]))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
