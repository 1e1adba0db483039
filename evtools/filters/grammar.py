"""The grammar of the filter language: from text to a tree of And, Or, Not and Term."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NoReturn, TypeAlias

MAX_CHARS: Final = 2048
MAX_TERMS: Final = 128
#: How deep parentheses may be nested.
MAX_DEPTH: Final = 5

#: Operators whose value is a pattern and runs to the next blank.
PATTERN_OPERATORS: Final = ("~", "!~")
OPERATORS: Final = (":", "=", "!=", "~", "!~", ">", ">=", "<", "<=")
QUOTE_IT: Final = 'to search for literal text, put it in double quotes: "a=b"'


class Mistake(ValueError):
    """A filter that cannot be read: where (`position`, from 0) and what to write instead."""

    def __init__(self, message: str, position: int, length: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.length = max(1, length)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Value:
    """The value a field is compared with; `literal` when it was quoted."""

    text: str
    literal: bool = False
    position: int = field(default=0, compare=False)
    length: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Term:
    """A field, an operator, and values of which any may hold; a bare word searches `any`."""

    name: str
    operator: str
    values: tuple[Value, ...]
    position: int = field(default=0, compare=False)
    is_word: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """A negation."""

    child: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """Expressions that must all hold; none at all is the empty filter."""

    children: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Expressions of which one must hold."""

    children: "tuple[Node, ...]"


Node: TypeAlias = Term | Not | And | Or


def quote(text: str) -> str:
    """Return `text` as a filter's value that stands for exactly itself."""
    return '"' + re.sub(r'[\\"]', r"\\\g<0>", text) + '"'


def quote_pattern(text: str) -> str:
    """Return a regular expression as the value of `~`."""
    if text and not text.startswith('"') and not re.search(r"\s", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def parse(text: str, names: Container[str] = ()) -> Node:
    """Parse a filter; raise Mistake, with its place, if it is not one.

    `names` are the names of fields, in lower case: `in`, `like`, `is` and so on are
    operators only after one of them.
    """
    if len(text) > MAX_CHARS:
        raise Mistake(f"a filter has at most {MAX_CHARS} characters", MAX_CHARS)
    return _Parser(_Scanner(text, names).tokens()).filter()


# --- the tree -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["(", ")", "AND", "OR", "NOT", "term"]
    position: int
    length: int
    term: Term | None = None


class _Parser:
    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def filter(self) -> Node:
        if not self.tokens:
            return And(())
        node = self._either(0)
        if self.at < len(self.tokens):
            raise _mistake("this parenthesis was never opened", self.tokens[self.at])
        return node

    def _kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    def _either(self, depth: int) -> Node:
        children = [self._all(depth)]
        while self._kind() == "OR":
            self.at += 1
            children.append(self._all(depth))
        return children[0] if len(children) == 1 else Or(tuple(children))

    def _all(self, depth: int) -> Node:
        children = [self._negated(depth)]
        while self._kind() not in ("", "OR", ")"):
            self.at += self._kind() == "AND"
            children.append(self._negated(depth))
        return children[0] if len(children) == 1 else And(tuple(children))

    def _negated(self, depth: int) -> Node:
        if self._kind() == "NOT":
            self.at += 1
            return Not(self._negated(depth))
        if self._kind() not in ("(", "term"):
            self._refuse_missing_term()
        token = self.tokens[self.at]
        self.at += 1
        return token.term or self._group(token, depth + 1)

    def _group(self, opening: _Token, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _mistake(f"parentheses are nested more than {MAX_DEPTH} deep", opening)
        if self._kind() == ")":
            raise _mistake("nothing between the parentheses", opening, length=2)
        node = self._either(depth) if self._kind() else None
        if node is None or self._kind() != ")":
            hint = 'a pattern after ~ includes the ")": quote it, name~"a|b"'
            raise _mistake("this parenthesis is never closed", opening, hint=hint)
        self.at += 1
        return node

    def _refuse_missing_term(self) -> NoReturn:
        token = self.tokens[self.at - 1] if self.at else self.tokens[0]
        if token.kind == "(":
            token = self.tokens[self.at]
        if token.kind == ")":
            raise _mistake("this parenthesis was never opened", token)
        side = "on its right" if token.kind == "NOT" else "on both sides"
        hint = f'to search for the word itself, quote it: "{token.kind}"'
        raise _mistake(f"{token.kind} needs a term {side}", token, hint=hint)


def _mistake(message: str, token: _Token, length: int = 0, hint: str = "") -> Mistake:
    return Mistake(message, token.position, length or token.length, hint)


# --- the tokens -----------------------------------------------------------------
#
# What people type who come from SQL, jq, PromQL, Lucene or k9s is either understood or
# refused with what to write instead; none of it is silently searched for as text.

_BLANKS = re.compile(r"\s*")
_NAME: Final = r"""(?:\$?\.)?(?P<field>[A-Za-z_][\w.-]*(?:\[["']?[\w.-]+["']?\])?)"""
# A comparison has two spellings: runtime>2 and runtime:>2.
_SIGN: Final = r"(?P<operator>!==|!=|!~|=~|===?|<>|:?[<>]=?|[:=~])"
_FIELD = re.compile(_NAME + _SIGN, re.ASCII)
# `a : b` is a field only where there is one of that name.
_SPACED = re.compile(_NAME + r"\s+" + _SIGN, re.ASCII)
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
# fmt: off
_SPELLINGS: Final = {
    "==": "=", "===": "=", "!==": "!=", "<>": "!=", "=~": "~",
    ":>": ">", ":>=": ">=", ":<": "<", ":<=": "<=",
}
# fmt: on
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
_NULL = re.compile(r"\s+(?:null|none|nil|empty)(?=[\s)]|$)", re.IGNORECASE)
#: The + before a required term, in Lucene.
_REQUIRED = re.compile(r"(?:\++(?=[^\s+]))?")
#: kwargs["key"]
_INDEX = re.compile(r"""\[["']?([\w.-]+)["']?\]""")
#: select( in jq; its parentheses are those of a group.
_SELECT = re.compile(r"(?:select|filter)\s*\(", re.IGNORECASE)
_CALL = re.compile(r"[\w.]+\(")
_PATTERN = re.compile(r"\S*")
_EVERYTHING = re.compile(r"(?:\*:\*)?")
_SIGNS = re.compile(r"(?:&&|\|\|)?")
_BRACED_PATTERN = re.compile(r"[^\s,}]*")
_NOTHING = re.compile("")
# fmt: off
_KEYWORDS: Final[dict[str, Literal["AND", "OR", "NOT"]]] = {
    "AND": "AND", "OR": "OR", "NOT": "NOT", "&&": "AND", "||": "OR",
}
# fmt: on
#: The flags of a filter in k9s.
_FLAGS: Final = re.compile(r"-[lf](?=\s+\S)")


class _Scanner:
    def __init__(self, text: str, names: Container[str]) -> None:
        self.text = text
        self.names = names
        self.at = 0
        #: How deep in the braces of PromQL, where a comma is between terms.
        self.braces = 0

    def tokens(self) -> list[_Token]:
        found: list[_Token] = []
        self._skip(_BLANKS)
        if flag := self._peek(_FLAGS):
            hint = 'leave it out, as in state=failure; to leave out the word: NOT "l"'
            raise Mistake(f"{flag} is an option of k9s", self.at, len(flag), hint)
        while self.at < len(self.text):
            if len(found) >= MAX_TERMS:
                raise Mistake(f"a filter has at most {MAX_TERMS} terms", self.at)
            found += self._next()
            self._skip(_BLANKS)
        return found

    def _next(self) -> list[_Token]:
        """Return the next token, or the two of a negated term."""
        self._skip(_REQUIRED)
        start, character = self.at, self.text[self.at]
        if character in "()":
            self.at += 1
            return [_Token("(" if character == "(" else ")", start, 1)]
        if self._is_brace(character):
            self.at += 1
            self.braces += {"{": 1, "}": -1, ",": 0}[character]
            return [] if character == "," else [_Token("(" if character == "{" else ")", start, 1)]
        if selects := self._skip(_SELECT):
            return [_Token("(", start, len(selects))]
        if character in "-!":
            return [self._negation()]
        found = _FOUND_IN.match(self.text, start)
        if found and found["field"].lower() in self.names:
            self.at = found.end()
            value = Value(found["a"] or found["b"] or "", literal=True)
            return [_term_token(found["field"], ":", [value], start)]
        match = _WORDED.match(self.text, start)
        if match and self._is_field(match["field"]):
            return self._worded(match)
        if match := self._field():
            return [self._term(match)]
        return [self._word()]

    def _is_brace(self, character: str) -> bool:
        """Return whether a brace or comma is one of PromQL's: {state="FAILURE", name="x"}."""
        if character == "{":
            blanks = _BLANKS.match(self.text, self.at + 1)
            inside = blanks.end() if blanks else self.at
            return bool(_FIELD.match(self.text, inside) or _SPACED.match(self.text, inside))
        return self.braces > 0 and character in ",}"

    def _is_field(self, name: str) -> bool:
        first = re.split(r"[.\[]", name.lower())[0]
        return name.lower() in self.names or first in ("field", "f", "kwargs", "args")

    def _field(self) -> re.Match[str] | None:
        if match := _FIELD.match(self.text, self.at):
            return match
        match = _SPACED.match(self.text, self.at)
        if match and match["operator"] == ":" and not self._is_field(match["field"]):
            return None
        return match

    def _word(self) -> _Token:
        start = self.at
        if value := self._slashes():
            return _term_token("any", "~", [value], start, value.length)
        if self._skip(_EVERYTHING):
            return _term_token("any", ":", [Value("*")], start, 3, is_word=True)
        if sign := self._skip(_SIGNS):
            return _Token(_KEYWORDS[sign], start, len(sign))
        self._refuse_lone_operator()
        value = self._value(_BRACED_ITEM if self.braces else _BARE_WORD)
        if not value.literal and value.text.upper() in _KEYWORDS:
            return _Token(_KEYWORDS[value.text.upper()], start, self.at - start)
        return _term_token("any", ":", [value], start, self.at - start, is_word=True)

    def _slashes(self) -> Value | None:
        match = _SLASHES.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return Value(match[1], position=match.start(), length=len(match[0]))

    def _refuse_lone_operator(self) -> None:
        """Refuse `> 5` and `| x`, which would silently be searched for as text."""
        if signs := self._peek(_OPERATOR_CHARACTERS):
            hint = f"as in runtime>2; {QUOTE_IT}"
            raise Mistake(f'"{signs}" needs a field on its left', self.at, len(signs), hint)
        if self.text[self.at] in "|&":
            hint = 'write AND or OR; for a part of a text name~"x" or name:x'
            raise Mistake(f'"{self.text[self.at]}" is not an operator', self.at, hint=hint)

    def _negation(self) -> _Token:
        start = self.at
        self.at += 1
        if self.text[start] == "-" and self._peek(_PATTERN)[:1] in ("", ")"):
            hint = 'write -term, or "-" in quotes to search for it'
            raise Mistake('a "-" negates the term right after it', start, hint=hint)
        return _Token("NOT", start, 1)

    # --- terms --------------------------------------------------------------------

    def _term(self, match: re.Match[str]) -> _Token:
        self.at = match.end()
        operator = _SPELLINGS.get(match["operator"], match["operator"])
        name, start = match["field"], match.start("field")
        is_pattern = operator in PATTERN_OPERATORS
        if not is_pattern:
            self._refuse_other_operators(match.start("operator"))
        self._skip_to_value()
        if (is_pattern or operator in (":", "=", "!=")) and (value := self._slashes()):
            sign = "!~" if operator.startswith("!") else "~"
            return _term_token(name, sign, [value], start)
        values = [self._pattern()] if is_pattern else self._values(operator)
        return _term_token(name, operator, values, start)

    def _skip_to_value(self) -> None:
        """Skip the blanks before a value, but not up to AND, OR and NOT."""
        before = self.at
        self._skip(_BLANKS)
        if self.at > before and self._peek(_BARE_WORD).upper() in _KEYWORDS:
            self.at = before

    def _worded(self, match: re.Match[str]) -> list[_Token]:
        name, start = match["field"], match.start("field")
        operator = " ".join(match["operator"].lower().split())
        negated = bool(match["not"]) or operator in ("notin", "is not")
        self.at = match.end()
        if operator.startswith("is") and self._skip(_NULL):
            values, sign, negated = [Value(name, position=start)], ":", not negated
            name = "has"
        elif operator == "between":
            values, sign = [self._between()], ":"
        else:
            values, sign = self._worded_values(operator)
        if negated and sign == "=":
            return [_term_token(name, "!=", values, start)]
        term = _term_token(name, sign, values, start)
        return [_Token("NOT", start, 1), term] if negated else [term]

    def _worded_values(self, operator: str) -> tuple[list[Value], str]:
        self._skip(_BLANKS)
        if operator == "matches":
            return [self._pattern()], "~"
        values = self._values(":")
        if operator == "contains":
            return values, ":"
        if "like" in operator:  # without a wildcard it is exact
            return [
                replace(value, text=value.text.replace("%", "*").replace("_", "?"), literal=False)
                if re.search("[%*]", value.text)
                else value
                for value in values
            ], ":"
        if operator.startswith("starts"):
            return [replace(value, text=f"{value.text}*", literal=False) for value in values], ":"
        return values, "="

    def _between(self) -> Value:
        match = _BETWEEN.match(self.text, self.at)
        if not match:
            raise Mistake("between needs two values", self.at, hint="as in runtime:1..5")
        self.at = match.end()
        text = f"{match['low']}..{match['high']}"
        return Value(text, position=match.start("low"), length=len(match[0].strip()))

    def _refuse_other_operators(self, start: int) -> None:
        """Refuse `name:~x`, which would otherwise look for the text `~x`."""
        if not self._peek(_OPERATOR_CHARACTERS):
            return
        self.at = start
        tried = self._peek(_OPERATOR_CHARACTERS)
        guess = f' (did you mean "{_LIKELY[tried]}"?)' if tried in _LIKELY else ""
        raise Mistake(
            f'invalid operator "{tried}"{guess}',
            start,
            len(tried),
            f"valid operators: {' '.join(OPERATORS)}; {QUOTE_IT}",
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
        while not self.braces and self.text.startswith(",", self.at):
            self.at += 1
            values.append(self._value(bare))
        return values

    def _range(self, match: re.Match[str]) -> Value:
        """Read a range of Lucene, [1 TO 5], which includes its ends."""
        self.at = match.end()
        low, high = ("" if end == "*" else end for end in match.group("low", "high"))
        return Value(f"{low}..{high}", position=match.start(), length=len(match[0]))

    def _listed(self) -> list[Value]:
        """Read values in parentheses: (a, b), (a OR b), ["a", "b"]."""
        opening, values = self.at, list[Value]()
        closing = ")" if self.text[self.at] == "(" else "]"
        self.at += 1
        while not self.text.startswith(closing, self.at):
            if self.at >= len(self.text):
                raise Mistake("this list is never closed", opening)
            if self.text[self.at].isspace() or self.text[self.at] in ",|":
                self.at += 1
                continue
            value = self._value(_LISTED_ITEM)
            word = "" if value.literal else value.text.upper()
            if word in ("AND", "NOT", "&&"):
                raise Mistake(
                    f"{word} is not allowed in a list of values",
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

    def _value(self, bare: re.Pattern[str]) -> Value:
        start = self.at
        if _APOSTROPHES.match(self.text, start):
            text = re.sub(r"\\([\\'])", r"\1", self._quoted(_APOSTROPHES))
            return Value(text, literal=True, position=start, length=self.at - start)
        literal = self.text.startswith('"', start)
        if literal:
            text = re.sub(r'\\([\\"])', r"\1", self._quoted(_QUOTED))
        else:
            text = self._skip(bare)
            if not text:
                self._refuse_nothing(start)
            if text.startswith("'") and text.count("'") % 2:
                hint = "put phrases in double quotes"
                raise Mistake("the ' is not closed", start, len(text), hint)
        if text.upper() not in _KEYWORDS:
            self._refuse_more_word(start, bare if literal else _NOTHING)
        return Value(text, literal, start, self.at - start)

    def _pattern(self) -> Value:
        r"""Read a regular expression.

        In quotes only \" is unescaped: every other backslash is the pattern's own.
        """
        start = self.at
        more = _BRACED_PATTERN if self.braces else _PATTERN
        if self.text.startswith('"', start):
            quoted = self._quoted(_QUOTED)
            text = re.sub(r"\\(.)", lambda m: '"' if m[1] == '"' else m[0], quoted, flags=re.DOTALL)
            if not self.text.startswith(("&&", "||"), self.at):
                self._refuse_more_word(start, more)
        elif _APOSTROPHES.match(self.text, start):
            text = self._quoted(_APOSTROPHES)
        else:
            text = self._skip(more)
        if not text:
            self._refuse_nothing(start)
        return Value(text, literal=False, position=start, length=self.at - start)

    def _quoted(self, quoted: re.Pattern[str]) -> str:
        match = quoted.match(self.text, self.at)
        if not match:
            hint = r"inside quotes, write a quote as \""
            raise Mistake("the quote is not closed", self.at, hint=hint)
        self.at = match.end()
        return match[1]

    def _refuse_nothing(self, start: int) -> NoReturn:
        raise Mistake("a value is missing", start, hint='the empty text is ""')

    def _refuse_more_word(self, start: int, more: re.Pattern[str]) -> None:
        """Refuse `foo(x)` and `"a"b`, which would silently be two terms."""
        following = self.text[self.at : self.at + 1]
        if following in ("(", '"') or (self._peek(more) and following not in ")}"):
            hint = f"put the whole value in double quotes, from column {start + 1}"
            if _CALL.match(self.text, start):
                hint = f'there are no functions: name:x, name:x* or name~"x"; or {hint}'
            raise Mistake(f"{following} in the middle of a word", self.at, hint=hint)

    def _peek(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        return match[0] if match else ""

    def _skip(self, pattern: re.Pattern[str]) -> str:
        matched = self._peek(pattern)
        self.at += len(matched)
        return matched


def _term_token(
    name: str,
    operator: str,
    values: list[Value],
    start: int,
    length: int = 0,
    *,
    is_word: bool = False,
) -> _Token:
    term = Term(_INDEX.sub(r".\1", name), operator, tuple(values), start, is_word)
    return _Token("term", start, length or len(name), term)
