"""The expression a filter is: its tree, read and written."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

from evtools.filters.tokens import (
    PATTERN_OPERATORS,
    Mistake,
    Token,
    TokenKind,
    Value,
    quote_pattern,
    tokenize,
)

#: How deep parentheses may be nested.
MAX_DEPTH: Final = 5

# str() of a tree is a filter that reads as the same tree: parse(str(tree)) == tree.


@dataclass(frozen=True, slots=True)
class Everything:
    """The empty filter."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word or quoted phrase, searched for in several fields."""

    value: Value

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Term:
    """A field, an operator, and one or more values of which any may hold."""

    name: str
    operator: str
    values: tuple[Value, ...]
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if self.operator in PATTERN_OPERATORS:
            return f"{self.name}{self.operator}{quote_pattern(self.values[0].text)}"
        return f"{self.name}{self.operator}{','.join(map(str, self.values))}"


@dataclass(frozen=True, slots=True)
class Not:
    """A negation."""

    child: "Node"

    def __str__(self) -> str:
        return f"NOT {_grouped(self.child, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more expressions that must all hold; none is itself an `And`."""

    children: "tuple[Node, ...]"

    def __str__(self) -> str:
        return " ".join(_grouped(child, Or) for child in self.children)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more expressions of which one must hold; none is itself an `Or`."""

    children: "tuple[Node, ...]"

    def __str__(self) -> str:
        return " OR ".join(map(str, self.children))


Node: TypeAlias = Everything | Word | Term | Not | And | Or


def parse(text: str, names: Container[str] = ()) -> Node:
    """Read a filter; `names` are those of its fields.

    Raises Mistake, with the place, where it does not follow the grammar or
    passes a limit.  Field names and values are not looked at.
    """
    tokens = tokenize(text, names)
    if not tokens:
        return Everything()
    return _Parser(tokens).filter()


def _grouped(node: Node, *kinds: type[object]) -> str:
    """Return `node`, in parentheses if it is of one of `kinds`.

    A pattern would take the closing parenthesis with it, but for a blank.
    """
    if not isinstance(node, kinds):
        return str(node)
    return f"({node} )" if _ends_in_pattern(node) else f"({node})"


def _ends_in_pattern(node: Node) -> bool:
    """Return whether the last term of `node` is a regular expression."""
    match node:
        case And(children) | Or(children):
            return _ends_in_pattern(children[-1])
        case Not(child):
            return _ends_in_pattern(child)
        case _:
            return isinstance(node, Term) and node.operator in PATTERN_OPERATORS


_STARTS: Final = (TokenKind.OPEN, TokenKind.WORD, TokenKind.TERM)


class _Parser:
    """Tokens and how far they have been read."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def filter(self) -> Node:
        node = self._either(0)
        if self._kind() is TokenKind.CLOSE:
            raise _mistake("this parenthesis was never opened", self.tokens[self.at])
        return node

    def _kind(self) -> TokenKind | None:
        """Return the kind of the next token, None at the end."""
        return self.tokens[self.at].kind if self.at < len(self.tokens) else None

    def _either(self, depth: int) -> Node:
        children = [self._all(depth)]
        while self._kind() is TokenKind.OR:
            self.at += 1
            children.append(self._all(depth))
        return _joined(Or, children)

    def _all(self, depth: int) -> Node:
        children = [self._negated(depth)]
        while self._kind() not in (None, TokenKind.OR, TokenKind.CLOSE):
            if self._kind() is TokenKind.AND:
                self.at += 1
            children.append(self._negated(depth))
        return _joined(And, children)

    def _negated(self, depth: int) -> Node:
        if self._kind() is TokenKind.NOT:
            self.at += 1
            return Not(self._negated(depth))
        return self._atom(depth)

    def _atom(self, depth: int) -> Node:
        kind = self._kind()
        if kind not in _STARTS:
            self._refuse_missing_term()
        token = self.tokens[self.at]
        self.at += 1
        if kind is TokenKind.OPEN:
            return self._group(token, depth + 1)
        if kind is TokenKind.WORD:
            return Word(token.values[0])
        return Term(token.name, token.operator, token.values, token.position)

    def _group(self, opening: Token, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _mistake(f"parentheses are nested more than {MAX_DEPTH} deep", opening)
        if self._kind() is TokenKind.CLOSE:
            raise _mistake("nothing between the parentheses", opening, length=2)
        node = self._either(depth) if self._kind() else Everything()
        if self._kind() is not TokenKind.CLOSE:
            raise _mistake(
                "this parenthesis is never closed",
                opening,
                hint='a pattern behind ~ takes the ) with it: quote it, name~"a|b"',
            )
        self.at += 1
        return node

    def _refuse_missing_term(self) -> NoReturn:
        """Complain about the connective, or parenthesis, whose term is missing."""
        before = self.tokens[self.at - 1] if self.at else None
        if before and before.kind is not TokenKind.OPEN:
            token = before
        else:
            token = self.tokens[self.at]
        if token.kind is TokenKind.CLOSE:
            raise _mistake("this parenthesis was never opened", token)
        word = token.kind.value
        side = "on its right" if token.kind is TokenKind.NOT else "on both sides"
        raise _mistake(
            f"{word} needs a term {side}",
            token,
            hint=f'to search for the word itself, quote it: "{word}"',
        )


def _joined(kind: type[And] | type[Or], children: list[Node]) -> Node:
    """Return the only child, or all in one node, with nodes of that kind dissolved."""
    if len(children) == 1:
        return children[0]
    flat: list[Node] = []
    for child in children:
        flat.extend(child.children if isinstance(child, kind) else (child,))
    return kind(tuple(flat))


def _mistake(message: str, token: Token, length: int = 0, hint: str = "") -> Mistake:
    return Mistake(message, token.position, length or token.length, hint)
