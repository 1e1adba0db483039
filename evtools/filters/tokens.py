"""The words of a filter and where they stand."""

import re
from collections.abc import Callable, Container
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

    def __init__(self, message: str, position: int, length: int = 1, hint: str = "") -> None:
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


# What people type who come from SQL, jq, PromQL, Lucene or k9s is read as what it
# means, or refused with what to write: nothing of it is searched for as text.

_BLANKS = re.compile(r"\s*")
_NAME: Final = r"""(?:\$?\.)?(?P<field>[A-Za-z_][\w.-]*(?:\[["']?[\w.-]+["']?\])?)"""
# A field may be written with either spelling of a comparison: runtime>2 and
# runtime:>2.
_SIGN: Final = r"(?P<operator>!==|!=|!~|=~|===?|<>|:?[<>]=?|[:=~])"
_FIELD = re.compile(_NAME + _SIGN, re.ASCII)
# `a : b` is a field only where there is one of that name.
_SPACED = re.compile(_NAME + r"(?P<blanks>\s+)" + _SIGN, re.ASCII)
_WORDED = re.compile(
    _NAME + r"\s+(?P<not>not\s+)?(?P<operator>in(?=\s*[\[(]|\s+\S+\s*,)|notin(?=\s*[\[(])"
    r"|is\s+not(?=\s)|is(?=\s)|i?like(?=\s)|between(?=\s)|contains(?=\s)|matches(?=\s)"
    r"|starts\s?with(?=\s))",
    re.ASCII | re.IGNORECASE,
)
#: "x" in name
_FOUND_IN = re.compile(
    r"""(?:"(?P<a>[^"\\]*)"|'(?P<b>[^'\\]*)')\s+in\s+"""
    r"(?:\$?\.)?(?P<field>[A-Za-z_]\w*)(?=[\s)]|$)",
    re.ASCII | re.IGNORECASE,
)
_OPERATOR_CHARACTERS = re.compile(r"[:=~<>!]*")
_SPELLINGS: Final = {
    "==": "=",
    "===": "=",
    "!==": "!=",
    "<>": "!=",
    "=~": "~",
    ":>": ">",
    ":>=": ">=",
    ":<": "<",
    ":<=": "<=",
}
_LIKELY: Final = {"=>": ">=", "=<": "<=", ":=": "=", ":~": "~"}
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_APOSTROPHES = re.compile(r"'((?:[^'\\]|\\.)*)'(?=[\s),}\]]|&&|\|\||$)", re.DOTALL)
_BARE_WORD = re.compile(r'(?:(?!&&|\|\|)[^\s()"])*')
_BARE_ITEM = re.compile(r'(?:(?!&&|\|\|)[^\s()",])*')
_BRACED_ITEM = re.compile(r'(?:(?!&&|\|\|)[^\s()",}])*')
_LISTED_ITEM = re.compile(r'(?:(?!\|\|)[^\s()",\]|])*')
_SLASHES = re.compile(r"/((?:[^/\\]|\\.)+)/i?(?=[\s)}]|&&|\|\||$)")
_RANGE = re.compile(r"[\[{]\s*(?P<low>\S+)\s+TO\s+(?P<high>[^\s\]}]+)\s*[\]}]", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(?P<low>\S+)\s+and\s+(?P<high>[^\s)]+)", re.IGNORECASE)
_NOTHING_THERE = re.compile(r"\s+(?:null|none|nil|empty)(?=[\s)]|$)", re.IGNORECASE)
#: What must be there, in Lucene.
_MUST = re.compile(r"(?:\++(?=[^\s+]))?")
#: kwargs["key"]
_INDEX = re.compile(r"""\[["']?([\w.-]+)["']?\]""")
#: What selects in jq; its parentheses are those of a group.
_SELECT = re.compile(r"(?:select|filter)\s*\(", re.IGNORECASE)
_CALL = re.compile(r"[\w.]+\(")
_PATTERN = re.compile(r"\S*")
_BRACED_PATTERN = re.compile(r"[^\s,}]*")
_NOTHING = re.compile("")
_KEYWORDS: Final = {
    "AND": TokenKind.AND,
    "OR": TokenKind.OR,
    "NOT": TokenKind.NOT,
    "&&": TokenKind.AND,
    "||": TokenKind.OR,
}
_PARENTHESES: Final = {"(": TokenKind.OPEN, ")": TokenKind.CLOSE}
#: k9s' flags of its own filter.
_FLAGS: Final = re.compile(r"-[lf](?=\s+\S)")


def quote(text: str) -> str:
    """Return `text` as a filter's value that stands for exactly itself."""
    return str(Value(text, literal=True))


def quote_pattern(text: str) -> str:
    """Return a regular expression as the value of `~`."""
    if text and not text.startswith('"') and not re.search(r"\s", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def tokenize(text: str, names: Container[str] = ()) -> list[Token]:
    """Split a filter into tokens.

    `names` are those of fields, in small letters: `in`, `like`, `is` and so on are
    operators after one of them only.  Raises Mistake where a word cannot be read or
    a limit is passed.
    """
    if len(text) > MAX_CHARS:
        raise Mistake(f"a filter has at most {MAX_CHARS} characters", MAX_CHARS)
    return _Scanner(text, names).tokens()


class _Scanner:
    """A filter and how far it has been read."""

    def __init__(self, text: str, names: Container[str]) -> None:
        self.text = text
        self.names = names
        self.at = 0
        #: How deep in the braces of PromQL, where a comma is between terms.
        self.braces = 0

    def tokens(self) -> list[Token]:
        found: list[Token] = []
        self._skip(_BLANKS)
        if match := _FLAGS.match(self.text, self.at):
            raise Mistake(
                f"{match[0]} is an option of k9s",
                self.at,
                len(match[0]),
                'leave it out, as in state=failure; to leave out the word: NOT "l"',
            )
        while self.at < len(self.text):
            if len(found) >= MAX_TOKENS:
                raise Mistake(f"a filter has at most {MAX_TOKENS} terms", self.at)
            found += self._next()
            self._skip(_BLANKS)
        return found

    def _next(self) -> list[Token]:
        """Return the next token, or the two of a negated term."""
        self._skip(_MUST)
        start, character = self.at, self.text[self.at]
        if character in _PARENTHESES:
            self.at += 1
            return [Token(_PARENTHESES[character], start, 1)]
        if self._in_braces(character):
            self.at += 1
            return self._brace(character, start)
        if match := _SELECT.match(self.text, start):
            self.at = match.end()
            return [Token(TokenKind.OPEN, start, len(match[0]))]
        if character in "-!":
            return [self._negation()]
        if match := _FOUND_IN.match(self.text, start):
            return self._found_in(match)
        match = _WORDED.match(self.text, start)
        if match and self._is_field(match["field"]):
            return self._worded(match)
        if match := self._field():
            return [self._term(match)]
        return [self._word()]

    def _in_braces(self, character: str) -> bool:
        """Return whether a brace or comma is one of PromQL's."""
        if character == "{":
            after = _BLANKS.match(self.text, self.at + 1)
            at = after.end() if after else self.at
            return bool(_FIELD.match(self.text, at) or _SPACED.match(self.text, at))
        return self.braces > 0 and character in ",}"

    def _brace(self, character: str, start: int) -> list[Token]:
        if character == ",":
            return []
        self.braces += 1 if character == "{" else -1
        kind = TokenKind.OPEN if character == "{" else TokenKind.CLOSE
        return [Token(kind, start, 1)]

    def _is_field(self, name: str) -> bool:
        first = re.split(r"[.\[]", name.lower())[0]
        return name.lower() in self.names or first in ("field", "f", "kwargs", "args")

    def _field(self) -> re.Match[str] | None:
        """Return the field and operator that come next, if they do."""
        if match := _FIELD.match(self.text, self.at):
            return match
        match = _SPACED.match(self.text, self.at)
        if match and match["operator"] == ":" and not self._is_field(match["field"]):
            return None
        return match

    def _word(self) -> Token:
        start = self.at
        if match := _SLASHES.match(self.text, start):
            return self._pattern_word(match)
        if self.text.startswith("*:*", start):
            self.at += 3
            return Token(TokenKind.WORD, start, 3, values=(Value("*"),))
        for sign in ("&&", "||"):
            if self.text.startswith(sign, start):
                self.at += len(sign)
                return Token(_KEYWORDS[sign], start, len(sign))
        self._refuse_lone_operator()
        value = self._value(_BARE_WORD if not self.braces else _BRACED_ITEM)
        kind = TokenKind.WORD
        if not value.literal:
            kind = _KEYWORDS.get(value.text.upper(), kind)
        return Token(kind, start, self.at - start, values=(value,))

    def _pattern_word(self, match: re.Match[str]) -> Token:
        self.at = match.end()
        value = Value(match[1], position=match.start(), length=len(match[0]))
        return Token(TokenKind.TERM, match.start(), len(match[0]), "any", "~", (value,))

    def _refuse_lone_operator(self) -> None:
        """Refuse `> 5` and `| x`, which would silently be searched for as text."""
        start = self.at
        if signs := self._peek(_OPERATOR_CHARACTERS):
            raise Mistake(
                f'"{signs}" needs a field on its left',
                start,
                len(signs),
                f"as in runtime>2; {QUOTE_IT}",
            )
        if self.text[start] in "|&":
            raise Mistake(
                f'"{self.text[start]}" is no operator',
                start,
                hint='write AND or OR; for a part of a text name~"x" or name:x',
            )

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

    # --- terms --------------------------------------------------------------------

    def _term(self, match: re.Match[str]) -> Token:
        self.at = match.end()
        operator = _SPELLINGS.get(match["operator"], match["operator"])
        name, start = match["field"], match.start("field")
        if operator not in PATTERN_OPERATORS:
            self._refuse_other_operators(match.start("operator"))
        self._skip_to_value()
        if slashes := self._slashes(operator):
            return slashes(name, start)
        if operator in PATTERN_OPERATORS:
            values = [self._pattern()]
        else:
            values = self._values(operator)
        return _term_token(name, operator, values, start)

    def _skip_to_value(self) -> None:
        """Step over the blanks before a value, but not to AND, OR and NOT."""
        before = self.at
        self._skip(_BLANKS)
        if self.at > before and self._peek(_BARE_WORD).upper() in _KEYWORDS:
            self.at = before

    def _slashes(self, operator: str) -> Callable[[str, int], Token] | None:
        """Return what makes a term of /a pattern/ in slashes, if one comes."""
        match = _SLASHES.match(self.text, self.at)
        if not match or operator not in (":", "=", "!=", *PATTERN_OPERATORS):
            return None
        self.at = match.end()
        value = Value(match[1], position=match.start(), length=len(match[0]))
        sign = "!~" if operator.startswith("!") else "~"
        return lambda name, start: _term_token(name, sign, [value], start)

    def _worded(self, match: re.Match[str]) -> list[Token]:
        """Read a term whose operator is a word, as `in` is."""
        name, start = match["field"], match.start("field")
        operator = " ".join(match["operator"].lower().split())
        negated = bool(match["not"]) or operator in ("notin", "is not")
        self.at = match.end()
        if operator.startswith("is") and (nothing := self._nothing_there()):
            values, sign, negated = [Value(name, position=start)], ":", not negated
            name, self.at = "has", nothing.end()
        elif operator == "between":
            values, sign = [self._between()], ":"
        else:
            values, sign = self._worded_values(operator)
        if negated and sign == "=":
            return [_term_token(name, "!=", values, start)]
        term = _term_token(name, sign, values, start)
        return [Token(TokenKind.NOT, start, 1), term] if negated else [term]

    def _nothing_there(self) -> re.Match[str] | None:
        return _NOTHING_THERE.match(self.text, self.at)

    def _worded_values(self, operator: str) -> tuple[list[Value], str]:
        self._skip(_BLANKS)
        if operator == "matches":
            return [self._pattern()], "~"
        values = self._values(":")
        if operator == "contains":
            return values, ":"
        if "like" in operator:
            return [_like(value) for value in values], ":"
        if operator.startswith("starts"):
            return [_changed(value, f"{value.text}*") for value in values], ":"
        return values, "="

    def _between(self) -> Value:
        match = _BETWEEN.match(self.text, self.at)
        if not match:
            raise Mistake("between needs two values", self.at, hint="as in runtime:1..5")
        self.at = match.end()
        text = f"{match['low']}..{match['high']}"
        return Value(text, position=match.start("low"), length=len(match[0].strip()))

    def _found_in(self, match: re.Match[str]) -> list[Token]:
        if match["field"].lower() not in self.names:
            return [self._word()]
        self.at = match.end()
        value = Value(match["a"] or match["b"] or "", literal=True)
        return [_term_token(match["field"], ":", [value], match.start())]

    def _refuse_other_operators(self, start: int) -> None:
        """Refuse `name:~x`, which would otherwise look for the text `~x`."""
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

    # --- values -------------------------------------------------------------------

    def _values(self, operator: str) -> list[Value]:
        if operator in (":", "=", "!="):
            if match := _RANGE.match(self.text, self.at):
                return [self._range(match)]
            if self._peek(_PATTERN)[:1] in ("(", "["):
                return self._listed()
        bare = _BRACED_ITEM if self.braces else _BARE_ITEM
        values = [self._value(bare)]
        while not self.braces and self._comma():
            values.append(self._value(bare))
        return values

    def _comma(self) -> bool:
        """Step over a comma, if one comes."""
        found = self.text.startswith(",", self.at)
        self.at += found
        return found

    def _range(self, match: re.Match[str]) -> Value:
        """Read the range of Lucene, [1 TO 5]; its ends are in it."""
        self.at = match.end()
        low, high = ("" if end == "*" else end for end in match.group("low", "high"))
        return Value(f"{low}..{high}", position=match.start(), length=len(match[0]))

    def _listed(self) -> list[Value]:
        """Read values in parentheses: (a, b), (a OR b), ["a", "b"]."""
        opening, values = self.at, list[Value]()
        closing = {"(": ")", "[": "]"}[self.text[self.at]]
        self.at += 1
        while not self.text.startswith(closing, self.at):
            if self.at >= len(self.text):
                raise Mistake("this list is never closed", opening)
            if self.text[self.at].isspace() or self.text[self.at] in ",|":
                self.at += 1
                continue
            value = self._value(_LISTED_ITEM, in_list=True)
            word = "" if value.literal else value.text.upper()
            if word in ("AND", "NOT", "&&"):
                raise Mistake(
                    f"{word} cannot stand in a list of values",
                    value.position,
                    value.length,
                    "write the field again: name:a AND name:b",
                )
            if word != "OR":
                values.append(value)
        self.at += 1
        if not values:
            raise Mistake("nothing between the parentheses", opening, 2)
        return values

    def _value(self, bare: re.Pattern[str], *, in_list: bool = False) -> Value:
        """Read one value: quoted, or what `bare` matches."""
        start = self.at
        literal = self.text.startswith('"', start)
        if literal:
            text = re.sub(r'\\([\\"])', r"\1", self._quoted(_QUOTED))
        elif _APOSTROPHES.match(self.text, start):
            text = re.sub(r"\\([\\'])", r"\1", self._quoted(_APOSTROPHES))
            return Value(text, literal=True, position=start, length=self.at - start)
        else:
            text = self._skip(bare)
            self._refuse_half_words(text, start)
        if not in_list and text.upper() not in _KEYWORDS:
            self._refuse_more_word(start, bare if literal else _NOTHING)
        return Value(text, literal, start, self.at - start)

    def _pattern(self) -> Value:
        r"""Read a regular expression.

        In quotes only \" is unescaped: every other backslash is the pattern's own.
        """
        start = self.at
        more = _BRACED_PATTERN if self.braces else _PATTERN
        if self.text.startswith('"', start):
            text = re.sub(
                r"\\(.)",
                lambda pair: '"' if pair[1] == '"' else pair[0],
                self._quoted(_QUOTED),
                flags=re.DOTALL,
            )
            if not self.text.startswith(("&&", "||"), self.at):
                self._refuse_more_word(start, more)
        elif _APOSTROPHES.match(self.text, start):
            text = self._quoted(_APOSTROPHES)
        else:
            text = self._skip(more)
        if not text:
            self._refuse_nothing(start)
        # How it was quoted is no part of a pattern: quote_pattern decides.
        return Value(text, literal=False, position=start, length=self.at - start)

    def _quoted(self, quoted: re.Pattern[str]) -> str:
        """Step over a quoted text and return what is between the quotes."""
        match = quoted.match(self.text, self.at)
        if not match:
            raise Mistake(
                "the quote is not closed", self.at, hint=r"a quote inside quotes is written \""
            )
        self.at = match.end()
        return match[1]

    def _refuse_half_words(self, text: str, start: int) -> None:
        if not text:
            self._refuse_nothing(start)
        if text.startswith("'") and text.count("'") % 2:
            raise Mistake(
                "the ' is not closed", start, len(text), "phrases are put in double quotes"
            )

    def _refuse_nothing(self, start: int) -> NoReturn:
        raise Mistake("a value is missing", start, hint='nothing is written ""')

    def _refuse_more_word(self, start: int, more: re.Pattern[str]) -> None:
        """Refuse `foo(x)` and `"a"b`, which would silently be two terms."""
        following = self.text[self.at : self.at + 1]
        if following in ("(", '"') or (self._peek(more) and following not in ")}"):
            hint = f"put the whole value in double quotes, from column {start + 1}"
            if _CALL.match(self.text, start):
                hint = f'there are no functions: name:x, name:x* or name~"x"; or {hint}'
            raise Mistake(f"{following} in the middle of a word", self.at, hint=hint)

    def _peek(self, pattern: re.Pattern[str]) -> str:
        """Return what `pattern` matches here."""
        match = pattern.match(self.text, self.at)
        return match[0] if match else ""

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Step over what `pattern` matches here and return it."""
        matched = self._peek(pattern)
        self.at += len(matched)
        return matched


def _term_token(name: str, operator: str, values: list[Value], start: int) -> Token:
    length = len(name)
    name = _INDEX.sub(r".\1", name)
    return Token(TokenKind.TERM, start, length, name, operator, tuple(values))


def _changed(value: Value, text: str) -> Value:
    return Value(text, position=value.position, length=value.length)


def _like(value: Value) -> Value:
    """Return the pattern of SQL's LIKE with our wildcards; without any it is exact."""
    text = value.text.replace("%", "*").replace("_", "?")
    return _changed(value, text) if "%" in value.text or "*" in value.text else value
