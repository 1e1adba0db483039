"""Regular expressions that cannot stop a tool."""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from evtools.text import sanitize

# The operator writes the pattern, but whoever enqueues a task writes the text,
# and Python's engine backtracks: (a+)+$ takes years over forty letters, and
# a.*b.*c takes half a minute over 4 KiB of "abab...".  The engine has no time
# limit and holds the interpreter while it runs, so the work is bounded before:
#
# * Patterns whose work grows exponentially are refused: an open-ended repeat of
#   something that can itself match in several ways.  The test looks at shapes
#   and errs on the safe side; the message says what to write instead.
# * For the others the work grows with a power of the length, one more for each
#   open-ended repeat that competes with its neighbours.  Repeats that can end in
#   one place only, as in \w+\.\w+\. do, count as one together.  The power decides
#   how long a line may be; beyond it the line is cut, which is counted and told.
# * Plain text joined by .* is the commonest pattern of all, and is searched
#   piece by piece, which is linear.
# * The text is taken line by line, as grep does.  `.` and most patterns do not
#   cross lines anyway, ^ and $ become useful on tracebacks, and no traceback
#   needs to be cut.
#
# Rejected: a thread with a deadline (the engine does not let go of the
# interpreter), SIGALRM (not in threads, not in a library), another engine (a
# compiled dependency).

#: Characters of a line that are searched, by the number of competing repeats:
#: measured so that everyday patterns take a quarter of a second on the worst text.
LINE_CHARS: Final = (65536, 4096, 512, 128)
#: From so many repetitions on a repeat counts as open-ended.
MANY: Final = 10
#: How many ways (as a power of two) small repeats and alternatives may add up to.
MAX_WAYS: Final = 10


class PatternRefused(ValueError):
    """A regular expression that is wrong or could take for ever."""


class LineSearch:
    """A test for texts of which some line matches `pattern`, in any case.

    `cut` counts the texts that were not searched to their end.
    """

    __slots__ = ("_budget", "_pieces", "_power", "cut", "line_chars")

    def __init__(self, pattern: str) -> None:
        compiled = _compile(pattern)
        tokens = _tokens(pattern)
        pieces = _pieces(tokens)
        repeats = 0 if pieces else _Weigher(tokens).repeats()
        self.cut = 0
        self.line_chars = LINE_CHARS[repeats]
        self._power = repeats + 1
        self._budget = self.line_chars**self._power
        self._pieces: tuple[Callable[..., re.Match[str] | None], ...] = tuple(
            _compile(piece).search for piece in pieces
        ) or (compiled.search,)

    def __call__(self, text: str) -> bool:
        """Return whether a line of `text` matches."""
        if len(text) <= self.line_chars and "\n" not in text:
            return self._end(text) >= 0
        return self._find_in_lines(text)

    def _end(self, line: str) -> int:
        """Return where the match in `line` ends, -1 if there is none."""
        position = 0
        for search in self._pieces:
            match = search(line, position)
            if match is None:
                return -1
            position = match.end()
        return position

    def _find_in_lines(self, text: str) -> bool:
        budget, cut = self._budget, False
        for line in text.split("\n"):
            size = min(len(line), self.line_chars)
            budget -= size**self._power
            if budget < 0:
                cut = True
                break
            # A match up to the cut may be one because of it: $ and \b are.
            end = self._end(line[:size])
            if 0 <= end < size or end == len(line):
                return True
            cut = cut or size < len(line)
        self.cut += cut
        return False


def check_time(pattern: str) -> None:
    """Raise PatternRefused for what could take for ever on a text of any lines.

    The pattern must be one that Python compiles.
    """
    _Weigher(_tokens(pattern.replace(r"\n", r"\t"))).repeats()


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        # Python warns about [[ and && in a set, which may change their meaning.
        with warnings.catch_warnings(action="error", category=FutureWarning):
            compiled = re.compile(pattern, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError, FutureWarning) as error:
        raise PatternRefused(f"not a regular expression: {sanitize(str(error))}") from error
    if compiled.flags & re.VERBOSE or _VERBOSE.search(pattern):
        raise PatternRefused("the flag x has no place in a filter")
    return compiled


# --- the shape of a pattern -----------------------------------------------------

_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x[a-zA-Z-]*:")
# `re.compile` has accepted the pattern, so the pieces only need telling apart.
_TOKEN = re.compile(
    r"""
      (?P<repeat> [*+?] [+?]? | \{ (?P<least>\d*) (?P<comma>,?) (?P<most>\d*) \} [+?]? )
    | (?P<flags> \(\? (?: [a-zA-Z]+ | \#[^)]* ) \) )
    | (?P<code> \\ (?: x.. | u.{4} | U.{8} | N\{[^}]*\}
                     | 0[0-7]{0,2} | [1-3][0-7]{2} ) )
    | (?P<back> \(\?P=\w+\) | \\[1-9] )
    | (?P<open> \( (?: \? (?: P<\w+> | <?[=!] | [a-zA-Z]*(?:-[a-zA-Z]+)?: | >
                            | \(\w+\) ) )? )
    | (?P<close> \) )
    | (?P<bar> \| )
    | (?P<set> \[ \^? \]? (?: \\. | [^\]\\] )* \] )
    | (?P<class> \\[A-Za-z0-9] | [.^$] )
    | (?P<literal> \\. | . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    """A unit of a pattern; for repeats, how often (`most` None is without end)."""

    kind: str
    text: str
    least: int = 1
    most: int | None = 1


_END: Final = _Token("end", "")


@dataclass(frozen=True, slots=True)
class _Cost:
    """How a part multiplies the work: 2**ways, and length**repeats."""

    ways: float = 0.0
    repeats: int = 0


_UNITS: Final = ("set", "class", "code", "literal")
_SIGNS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def _tokens(pattern: str) -> list[_Token]:
    tokens = [_token(match) for match in _TOKEN.finditer(pattern)]
    if any(token.text == r"\n" for token in tokens):
        raise PatternRefused(
            r"texts are searched line by line, so \n is never found "
            r"(the two characters \ and n are written \\n)"
        )
    return tokens


def _token(match: re.Match[str]) -> _Token:
    kind, text = str(match.lastgroup), match[0]
    if kind != "repeat":
        return _Token(kind, text)
    if text[0] in _SIGNS:
        return _Token(kind, text, *_SIGNS[text[0]])
    if not match["least"] and not match["comma"]:  # {} is text
        return _Token("literal", text)
    least = int(match["least"] or 0)
    if not match["comma"]:
        return _Token(kind, text, least, least)
    return _Token(kind, text, least, int(match["most"]) if match["most"] else None)


def _pieces(tokens: Sequence[_Token]) -> list[str]:
    """Return what stands between the `.*`, or nothing unless all of it is plain.

    Plain is what has one width.  Taking the first place where each piece fits
    then finds a match whenever there is one.
    """
    pieces = [""]
    following = [*tokens, _END][1:]
    skip = False
    for token, after in zip(tokens, following, strict=True):
        if skip:
            skip = False
        elif token.text == "." and after.text in ("*", "*?"):
            pieces.append("")
            skip = True
        elif token.kind in _UNITS:
            pieces[-1] += token.text
        else:
            return []
    return pieces


class _Weigher:
    """The tokens of a pattern and how far they have been weighed."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = [*tokens, _END]
        self._has_lone_repeat = False
        self._at = 0

    def repeats(self) -> int:
        """Return how many open-ended repeats compete with each other."""
        cost = self._alternatives()
        repeats = cost.repeats + self._has_lone_repeat
        if repeats >= len(LINE_CHARS) or cost.ways > MAX_WAYS:
            raise PatternRefused(
                "too many repeats that compete with each other: it could take "
                "minutes to see that a text does not match"
            )
        return repeats

    def _alternatives(self) -> _Cost:
        firsts = [self._first()]
        branches = [self._branch()]
        while self._tokens[self._at].kind == "bar":
            self._at += 1
            firsts.append(self._first())
            branches.append(self._branch())
        ways = max(branch.ways for branch in branches)
        if "" in firsts or len(set(firsts)) < len(firsts):
            ways += math.log2(len(branches))
        return _Cost(ways, max(branch.repeats for branch in branches))

    def _first(self) -> str:
        """Return the character a branch must begin with, or nothing."""
        token = self._tokens[self._at]
        return token.text.casefold() if self._is_fixed(self._at) else ""

    def _is_fixed(self, at: int) -> bool:
        """Return whether a character stands at `at` that must match exactly once."""
        token = self._tokens[at]
        return token.kind == "literal" and self._tokens[at + 1].kind != "repeat"

    def _branch(self) -> _Cost:
        ways, repeats = 0.0, 0
        while self._tokens[self._at].kind not in ("bar", "close", "end"):
            cost = self._repeated(self._unit())
            ways += cost.ways
            repeats += cost.repeats
        return _Cost(ways, repeats)

    def _unit(self) -> _Cost:
        """Step over a character, a set or a group."""
        kind = self._tokens[self._at].kind
        self._at += 1
        if kind != "open":
            return _Cost(repeats=1) if kind == "back" else _Cost()
        cost = self._alternatives()
        self._at += 1
        return cost

    def _repeated(self, body: _Cost) -> _Cost:
        """Step over the repeat of a unit, if it has one."""
        token = self._tokens[self._at]
        if token.kind != "repeat":
            return body
        self._at += 1
        least, most = token.least, token.most
        if least != most and (most is None or most >= MANY):
            if body.ways or body.repeats:
                raise PatternRefused(
                    f"a repeat inside a repeat ({token.text}) could take for ever on "
                    "some texts; write it with one repeat, such as [a-z.]+ for "
                    "([a-z]+[.]?)+"
                )
            if not self._ends_in_one_place():
                return _Cost(repeats=1)
            self._has_lone_repeat = True
            return _Cost()
        assert most is not None
        return _Cost(body.ways * most + math.log2(most - least + 1), body.repeats * most)

    def _ends_in_one_place(self) -> bool:
        """Return whether what follows the repeat just read cannot be part of it."""
        unit, after = self._tokens[self._at - 2], self._tokens[self._at]
        if after is _END:
            return True
        if unit.kind not in _UNITS or not self._is_fixed(self._at):
            return False
        character = after.text[-1]
        return not re.fullmatch(unit.text, character, re.IGNORECASE | re.DOTALL)
