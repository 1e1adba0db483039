"""The grammar of the filter language: from text to a tree of groups and terms."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal, NoReturn, TypeAlias

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
        self.message, self.hint = message, hint
        self.position, self.length = position, max(1, length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a filter, and where it stands in its text."""

    position: int = field(default=0, compare=False)
    length: int = field(default=1, compare=False)

    def mistake(self, message: str, hint: str = "", *, length: int = 0) -> Mistake:
        """Return what is wrong with this part; of another `length` if it is more or less."""
        return Mistake(message, self.position, length or self.length, hint)


@dataclass(frozen=True, slots=True)
class Value(Part):
    """The value a field is compared with; `literal` when it was quoted."""

    text: str
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Term(Part):
    """A field, an operator, and values of which any may hold; a bare word has no `name`."""

    name: str
    operator: str
    values: tuple[Value, ...]
    kind: ClassVar = "term"


@dataclass(frozen=True, slots=True)
class Group:
    """Expressions that must all hold (maybe none), of which one must, or one that must not."""

    operator: Literal["AND", "OR", "NOT"]
    children: "tuple[Node, ...]"


Node: TypeAlias = Term | Group


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

    `names` are those of fields in lower case: `in`, `like` and so on are operators only after one.
    """
    if len(text) > MAX_CHARS:
        raise Mistake(f"a filter has at most {MAX_CHARS} characters", MAX_CHARS)
    return _Parser(_Scanner(text, names).tokens()).filter()


@dataclass(frozen=True, slots=True)
class _Sign(Part):
    kind: Literal["(", ")", "AND", "OR", "NOT"]


class _Parser:
    def __init__(self, tokens: Sequence[Term | _Sign]) -> None:
        self.tokens, self.at = tokens, 0

    def filter(self) -> Node:
        if not self.tokens:
            return Group("AND", ())
        node = self._either(0)
        if self.at < len(self.tokens):
            raise self.tokens[self.at].mistake("this parenthesis was never opened")
        return node

    def _kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    def _either(self, depth: int) -> Node:
        choices = [[self._one(depth)]]
        while self._kind() not in ("", ")"):
            if self._kind() == "OR":
                choices.append([])
            self.at += self._kind() in ("AND", "OR")
            choices[-1].append(self._one(depth))
        return _group("OR", [_group("AND", children) for children in choices])

    def _one(self, depth: int) -> Node:
        if self._kind() not in ("NOT", "(", "term"):
            self._refuse_missing_term()
        token = self.tokens[self.at]
        self.at += 1
        if isinstance(token, Term):
            return token
        if token.kind == "NOT":
            return Group("NOT", (self._one(depth),))
        if depth == MAX_DEPTH:
            raise token.mistake(f"parentheses are nested more than {MAX_DEPTH} deep")
        if self._kind() == ")":
            raise token.mistake("nothing between the parentheses", length=2)
        node = self._either(depth + 1) if self._kind() else None
        if node is None or self._kind() != ")":
            hint = 'a pattern after ~ includes the ")": quote it, name~"a|b"'
            raise token.mistake("this parenthesis is never closed", hint)
        self.at += 1
        return node

    def _refuse_missing_term(self) -> NoReturn:
        token = self.tokens[self.at - 1] if self.at else self.tokens[0]
        if token.kind == "(":
            token = self.tokens[self.at]
        if token.kind == ")":
            raise token.mistake("this parenthesis was never opened")
        side = "on its right" if token.kind == "NOT" else "on both sides"
        hint = f'to search for the word itself, quote it: "{token.kind}"'
        raise token.mistake(f"{token.kind} needs a term {side}", hint)


def _group(operator: Literal["AND", "OR"], children: list[Node]) -> Node:
    return children[0] if len(children) == 1 else Group(operator, tuple(children))


# --- the tokens -----------------------------------------------------------------
#
# What people type who come from SQL, jq, PromQL, Lucene or k9s is either understood or
# refused with what to write instead; none of it is silently searched for as text.

_BLANKS = re.compile(r"\s*")
_NAME: Final = r"""(?:\$?\.)?(?P<field>[A-Za-z_][\w.-]*(?:\[["']?[\w.-]+["']?\])?)"""
#: A comparison has two spellings: runtime>2 and runtime:>2.
_SIGN: Final = r"(?P<operator>!==|!=|!~|=~|===?|<>|:?[<>]=?|[:=~])"
_FIELD = re.compile(rf"{_NAME}(?P<blanks>\s*){_SIGN}", re.ASCII)
_BRACED_FIELD = re.compile(rf"\{{\s*{_NAME}\s*{_SIGN}", re.ASCII)
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
    "==": "=", "===": "=", "!==": "!=", "<>": "!=", "=~": "~",
    ":>": ">", ":>=": ">=", ":<": "<", ":<=": "<=",
}  # fmt: skip
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
_REQUIRED = re.compile(r"\++(?=[^\s+])")
#: kwargs["key"]
_INDEX = re.compile(r"""\[["']?([\w.-]+)["']?\]""")
#: select( in jq; its parentheses are those of a group.
_SELECT = re.compile(r"(?:select|filter)\s*\(", re.IGNORECASE)
_CALL = re.compile(r"[\w.]+\(")
_PATTERN = re.compile(r"\S*")
_BRACED_PATTERN = re.compile(r"[^\s,}]*")
_EVERYTHING = re.compile(r"\*:\*")
_SIGNS = re.compile(r"&&|\|\|")
_BRACKETS: Final[dict[str, Literal["(", ")"]]] = {"(": "(", "{": "(", ")": ")", "}": ")"}
_KEYWORDS: Final[dict[str, Literal["AND", "OR", "NOT"]]] = {
    "AND": "AND", "OR": "OR", "NOT": "NOT", "&&": "AND", "||": "OR"
}  # fmt: skip
#: The flags of a filter in k9s.
_FLAGS: Final = re.compile(r"-[lf](?=\s+\S)")


class _Scanner:
    def __init__(self, text: str, names: Container[str]) -> None:
        self.text, self.names, self.at = text, names, 0
        #: How deep in the braces of PromQL, where a comma is between terms.
        self.braces = 0

    def tokens(self) -> list[Term | _Sign]:
        found: list[Term | _Sign] = []
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

    def _next(self) -> list[Term | _Sign]:
        # One token, or the two of a negated term, or none for a comma.
        self._skip(_REQUIRED)
        start, character = self.at, self.text[self.at]
        # In PromQL, {state="FAILURE", name="x"}.
        is_brace = _BRACED_FIELD.match(self.text, start) or (self.braces and character in ",}")
        if character in "()" or is_brace:
            self.at += 1
            self.braces += {"{": 1, "}": -1}.get(character, 0)
            return [] if character == "," else [_Sign(_BRACKETS[character], position=start)]
        if selects := self._skip(_SELECT):
            return [_Sign("(", position=start, length=len(selects))]
        if character in "-!":
            self.at += 1
            if character == "-" and self._peek(_PATTERN)[:1] in ("", ")"):
                hint = 'write -term, or "-" in quotes to search for it'
                raise Mistake('a "-" negates the term right after it', start, hint=hint)
            return [_Sign("NOT", position=start)]
        found = _FOUND_IN.match(self.text, start)
        if found and found["field"].lower() in self.names:
            self.at = found.end()
            value = Value(found["a"] or found["b"] or "", literal=True)
            return [_term(found["field"], ":", [value], start)]
        match = _WORDED.match(self.text, start)
        if match and self._is_field(match["field"]):
            return self._worded(match)
        match = _FIELD.match(self.text, start)
        # `a : b` is a field only where there is one of that name.
        if match and not (
            match["blanks"] and match["operator"] == ":" and not self._is_field(match["field"])
        ):
            return [self._compared(match)]
        return [self._word()]

    def _is_field(self, name: str) -> bool:
        first = re.split(r"[.\[]", name.lower())[0]
        return name.lower() in self.names or first in ("field", "f", "kwargs", "args")

    def _word(self) -> Term | _Sign:
        start = self.at
        if value := self._slashes():
            return _term("any", "~", [value], start, value.length)
        if everything := self._skip(_EVERYTHING):
            return _term("", ":", [Value("*")], start, len(everything))
        if sign := self._skip(_SIGNS):
            return _Sign(_KEYWORDS[sign], position=start, length=len(sign))
        # `> 5` and `| x` would silently be searched for as text.
        if signs := self._peek(_OPERATOR_CHARACTERS):
            hint = f"as in runtime>2; {QUOTE_IT}"
            raise Mistake(f'"{signs}" needs a field on its left', start, len(signs), hint)
        if self.text[start] in "|&":
            hint = 'write AND or OR; for a part of a text name~"x" or name:x'
            raise Mistake(f'"{self.text[start]}" is not an operator', start, hint=hint)
        value = self._value(_BRACED_ITEM if self.braces else _BARE_WORD)
        if not value.literal and value.text.upper() in _KEYWORDS:
            return _Sign(_KEYWORDS[value.text.upper()], position=start, length=value.length)
        return _term("", ":", [value], start, value.length)

    def _slashes(self) -> Value | None:
        if match := _SLASHES.match(self.text, self.at):
            self.at = match.end()
            return Value(match[1], position=match.start(), length=len(match[0]))
        return None

    def _compared(self, match: re.Match[str]) -> Term:
        name, start, self.at = match["field"], match.start("field"), match.end()
        operator = _SPELLINGS.get(match["operator"], match["operator"])
        is_pattern = operator in PATTERN_OPERATORS
        if not is_pattern and self._peek(_OPERATOR_CHARACTERS):
            # `name:~x` would otherwise look for the text `~x`.
            self.at = match.start("operator")
            tried = self._peek(_OPERATOR_CHARACTERS)
            guess = f' (did you mean "{_LIKELY[tried]}"?)' if tried in _LIKELY else ""
            hint = f"valid operators: {' '.join(OPERATORS)}; {QUOTE_IT}"
            raise Mistake(f'invalid operator "{tried}"{guess}', self.at, len(tried), hint)
        # Blanks may stand before a value, but not before AND, OR and NOT.
        blanks = self._skip(_BLANKS)
        if blanks and self._peek(_BARE_WORD).upper() in _KEYWORDS:
            self.at -= len(blanks)
        if operator[0] not in "<>" and (value := self._slashes()):
            return _term(name, "!~" if operator.startswith("!") else "~", [value], start)
        values = [self._pattern()] if is_pattern else self._values(operator)
        return _term(name, operator, values, start)

    def _worded(self, match: re.Match[str]) -> list[Term | _Sign]:
        name, start, self.at = match["field"], match.start("field"), match.end()
        word = " ".join(match["operator"].lower().split())
        negated = bool(match["not"]) or word in ("notin", "is not")
        sign = ":"
        if word.startswith("is") and self._skip(_NULL):
            values, negated = [Value(name, position=start, length=len(name))], not negated
            name = "has"
        elif word == "between":
            between = _BETWEEN.match(self.text, self.at)
            if not between:
                raise Mistake("between needs two values", self.at, hint="as in runtime:1..5")
            self.at = between.end()
            text, length = f"{between['low']}..{between['high']}", len(between[0].strip())
            values = [Value(text, position=between.start("low"), length=length)]
        elif word == "matches":
            self._skip(_BLANKS)
            values, sign = [self._pattern()], "~"
        else:
            self._skip(_BLANKS)
            values = self._values(":")
            if "like" in word:
                globs = [value.text.replace("%", "*").replace("_", "?") for value in values]
                values = [  # without a wildcard it is exact
                    replace(value, text=glob, literal=False) if "*" in glob else value
                    for value, glob in zip(values, globs, strict=True)
                ]
            elif word.startswith("starts"):
                values = [replace(value, text=f"{value.text}*", literal=False) for value in values]
            elif word != "contains":
                sign, negated = "!=" if negated else "=", False
        term = _term(name, sign, values, start)
        return [_Sign("NOT", position=start), term] if negated else [term]

    def _values(self, operator: str) -> list[Value]:
        if operator[0] not in "<>":
            if match := _RANGE.match(self.text, self.at):
                # A range of Lucene, [1 TO 5], includes its ends.
                self.at = match.end()
                low, high = ("" if end == "*" else end for end in match.group("low", "high"))
                return [Value(f"{low}..{high}", position=match.start(), length=len(match[0]))]
            if self._peek(_PATTERN)[:1] in ("(", "["):
                return self._listed()
        bare = _BRACED_ITEM if self.braces else _BARE_ITEM
        values = [self._value(bare)]
        while not self.braces and self.text.startswith(",", self.at):
            self.at += 1
            values.append(self._value(bare))
        return values

    def _listed(self) -> list[Value]:
        # Values in parentheses: (a, b), (a OR b), ["a", "b"].
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
                hint = "write the field again: name:a AND name:b"
                raise value.mistake(f"{word} is not allowed in a list of values", hint)
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
                raise Mistake("a value is missing", start, hint='the empty text is ""')
            if text.startswith("'") and text.count("'") % 2:
                hint = "put phrases in double quotes"
                raise Mistake("the ' is not closed", start, len(text), hint)
        if text.upper() not in _KEYWORDS:
            self._refuse_more_word(start, bare if literal else None)
        return Value(text, literal, position=start, length=self.at - start)

    def _pattern(self) -> Value:
        # In quotes only \" is unescaped: every other backslash is the pattern's own.
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
            raise Mistake("a value is missing", start, hint='the empty text is ""')
        return Value(text, literal=False, position=start, length=self.at - start)

    def _quoted(self, quoted: re.Pattern[str]) -> str:
        match = quoted.match(self.text, self.at)
        if not match:
            hint = r"inside quotes, write a quote as \""
            raise Mistake("the quote is not closed", self.at, hint=hint)
        self.at = match.end()
        return match[1]

    def _refuse_more_word(self, start: int, more: re.Pattern[str] | None) -> None:
        # `foo(x)` and `"a"b` would silently be two terms.
        following = self.text[self.at : self.at + 1]
        if following in ("(", '"') or (more and self._peek(more) and following not in ")}"):
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


def _term(name: str, operator: str, values: list[Value], start: int, length: int = 0) -> Term:
    name, length = _INDEX.sub(r".\1", name), length or len(name)
    return Term(name, operator, tuple(values), position=start, length=length)
