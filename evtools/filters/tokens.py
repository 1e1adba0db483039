"""The words of a filter and where they stand."""

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NoReturn

MAX_CHARS: Final = 2048
MAX_TOKENS: Final = 128

#: Operators whose value is a pattern and runs to the next blank.
PATTERN_OPERATORS: Final = ("~", "!~")
OPERATORS: Final = (":", "=", "!=", "~", "!~", ">", ">=", "<", "<=")
QUOTE_IT: Final = 'put text that is to be found as it is in double quotes: "a=b"'


class Mistake(ValueError):
    """A filter that cannot be read, and where.

    `position` counts from 0; `hint` says what to write instead.
    """

    def __init__(
        self, message: str, position: int, length: int = 1, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.length = max(1, length)
        self.hint = hint


class TokenKind(Enum):
    """What a token does in an expression."""

    OPEN = "("
    CLOSE = ")"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    WORD = "word"
    TERM = "term"


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with; `literal` when it stood in quotes."""

    text: str
    literal: bool = False
    position: int = field(default=0, compare=False)
    length: int = field(default=1, compare=False)

    def __str__(self) -> str:
        if not self.literal:
            return self.text
        return '"' + re.sub(r'[\\"]', r"\\\g<0>", self.text) + '"'


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a filter; only terms have a field's name and an operator."""

    kind: TokenKind
    position: int
    length: int
    name: str = ""
    operator: str = ""
    values: tuple[Value, ...] = ()


_BLANKS = re.compile(r"\s*")
# A field may be written with either spelling of a comparison: runtime>2 and
# runtime:>2.  `==` is what programmers type for `=`.
_FIELD = re.compile(
    r"(?P<field>[A-Za-z_][\w.-]*)(?P<operator>!=|!~|:?[<>]=?|==|[:=~])", re.ASCII
)
_OPERATOR_CHARACTERS = re.compile(r"[:=~<>!]*")
_SPELLINGS: Final = {"==": "=", ":>": ">", ":>=": ">=", ":<": "<", ":<=": "<="}
_LIKELY: Final = {"=~": "~", "=>": ">=", "=<": "<=", ":=": "=", ":~": "~", "<>": "!="}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE_WORD = re.compile(r'[^\s()"]*')
_BARE_ITEM = re.compile(r'[^\s()",]*')
_PATTERN = re.compile(r"\S*")
_NOTHING = re.compile("")
_KEYWORDS: Final = {
    "AND": TokenKind.AND,
    "OR": TokenKind.OR,
    "NOT": TokenKind.NOT,
}
_PARENTHESES: Final = {"(": TokenKind.OPEN, ")": TokenKind.CLOSE}


def quote(text: str) -> str:
    """Return `text` as a filter's value that stands for exactly itself."""
    return str(Value(text, literal=True))


def quote_pattern(text: str) -> str:
    """Return a regular expression as the value of `~`."""
    if text and not text.startswith('"') and not re.search(r"\s", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def tokenize(text: str) -> list[Token]:
    """Split a filter into tokens.

    Raises Mistake where a word cannot be read or a limit is passed.
    """
    if len(text) > MAX_CHARS:
        raise Mistake(f"a filter has at most {MAX_CHARS} characters", MAX_CHARS)
    return _Scanner(text).tokens()


class _Scanner:
    """A filter and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def tokens(self) -> list[Token]:
        found: list[Token] = []
        self._skip(_BLANKS)
        while self.at < len(self.text):
            if len(found) == MAX_TOKENS:
                raise Mistake(f"a filter has at most {MAX_TOKENS} terms", self.at)
            found.append(self._token())
            self._skip(_BLANKS)
        return found

    def _token(self) -> Token:
        start, character = self.at, self.text[self.at]
        if character in _PARENTHESES:
            self.at += 1
            return Token(_PARENTHESES[character], start, 1)
        if character in "-!":
            return self._negation()
        if match := _FIELD.match(self.text, start):
            return self._term(match)
        value = self._value(_BARE_WORD)
        kind = TokenKind.WORD
        if not value.literal:
            kind = _KEYWORDS.get(value.text, kind)
        return Token(kind, start, self.at - start, values=(value,))

    def _negation(self) -> Token:
        start = self.at
        self.at += 1
        if self.text[start] == "-" and not self._at_word():
            raise Mistake(
                'a "-" negates the term right behind it',
                start,
                hint='write -term, or "-" in quotes to search for it',
            )
        return Token(TokenKind.NOT, start, 1)

    def _at_word(self) -> bool:
        """Return whether a word or group, and neither blank nor end, comes next."""
        return self._peek(_PATTERN)[:1] not in ("", ")")

    def _term(self, match: re.Match[str]) -> Token:
        self.at = match.end()
        operator = _SPELLINGS.get(match["operator"], match["operator"])
        if operator in PATTERN_OPERATORS:
            values = [self._pattern()]
        else:
            self._refuse_other_operators(match.start("operator"))
            values = self._values()
        name = match["field"]
        return Token(
            TokenKind.TERM, match.start(), len(name), name, operator, tuple(values)
        )

    def _refuse_other_operators(self, start: int) -> None:
        """Refuse `name=~x`, which would otherwise look for the text `~x`."""
        if not self._peek(_OPERATOR_CHARACTERS):
            return
        self.at = start
        tried = self._peek(_OPERATOR_CHARACTERS)
        guess = f' (did you mean "{_LIKELY[tried]}"?)' if tried in _LIKELY else ""
        raise Mistake(
            f'"{tried}" is no operator{guess}',
            start,
            len(tried),
            f"operators are {' '.join(OPERATORS)}; {QUOTE_IT}",
        )

    def _values(self) -> list[Value]:
        values = [self._value(_BARE_ITEM)]
        while self.text.startswith(",", self.at):
            self.at += 1
            values.append(self._value(_BARE_ITEM))
        return values

    def _value(self, bare: re.Pattern[str]) -> Value:
        """Read one value: quoted, or what `bare` matches."""
        start = self.at
        literal = self.text.startswith('"', start)
        if literal:
            text = re.sub(r'\\([\\"])', r"\1", self._quoted())
        else:
            text = self._skip(bare)
            self._refuse_half_words(text, start)
        self._refuse_more_word(start, bare if literal else _NOTHING)
        return Value(text, literal, start, self.at - start)

    def _pattern(self) -> Value:
        r"""Read a regular expression.

        In quotes only \" is unescaped: every other backslash is the pattern's own.
        """
        start = self.at
        literal = self.text.startswith('"', start)
        if literal:
            text = re.sub(
                r"\\(.)",
                lambda pair: '"' if pair[1] == '"' else pair[0],
                self._quoted(),
                flags=re.DOTALL,
            )
            self._refuse_more_word(start, _PATTERN)
        else:
            text = self._skip(_PATTERN)
        if not text:
            self._refuse_nothing(start)
        # How it was quoted is no part of a pattern: quote_pattern decides.
        return Value(text, literal=False, position=start, length=self.at - start)

    def _quoted(self) -> str:
        """Step over a quoted text and return what is between the quotes."""
        match = _QUOTED.match(self.text, self.at)
        if not match:
            raise Mistake(
                "the quote is not closed",
                self.at,
                hint=r"a quote inside quotes is written \"",
            )
        self.at = match.end()
        return match[1]

    def _refuse_half_words(self, text: str, start: int) -> None:
        if not text:
            self._refuse_nothing(start)
        if text.startswith("'") and text.count("'") % 2:
            raise Mistake(
                "the ' is not closed",
                start,
                len(text),
                "phrases are put in double quotes",
            )

    def _refuse_nothing(self, start: int) -> NoReturn:
        raise Mistake("a value is missing", start, hint='nothing is written ""')

    def _refuse_more_word(self, start: int, more: re.Pattern[str]) -> None:
        """Refuse `foo(x)` and `"a"b`, which would silently be two terms."""
        following = self.text[self.at : self.at + 1]
        if following in ("(", '"') or (self._peek(more) and following != ")"):
            raise Mistake(
                f"{following} in the middle of a word",
                self.at,
                hint=f"put the whole value in double quotes, from column {start + 1}",
            )

    def _peek(self, pattern: re.Pattern[str]) -> str:
        """Return what `pattern` matches here."""
        match = pattern.match(self.text, self.at)
        return match[0] if match else ""

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Step over what `pattern` matches here and return it."""
        matched = self._peek(pattern)
        self.at += len(matched)
        return matched
