"""Completion for bash, 4.0 and later; bash-completion need not be there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evtools.cli.completions.grammar import Program, Value
from evtools.cli.topics import TOPICS

_HEAD: Final = """\
# bash completion for evtools, evtop, evdump and evcam; made by evtools.
"""

# bash takes words apart at = and :, and gives us the parts.
_BODY: Final = """\
_evtools() {
    local program=${COMP_WORDS[0]##*/} before=""
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local kind=words words="" option
    COMPREPLY=()
    if [[ $program == evtools ]]; then
        if ((COMP_CWORD == 1)) || [[ $COMP_CWORD == 2 && $prev == help ]]; then
            if ((COMP_CWORD == 1)); then prev=evtools; fi
            _evtools_rest "$prev"
            _evtools_reply
            return
        fi
        program=$(_evtools_program "${COMP_WORDS[1]}")
        if ((COMP_CWORD == 2)); then prev=""; fi
    fi
    if [[ $cur == : || $prev == : ]]; then return; fi
    option=$prev
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $cur == --*=* ]]; then
        option=${cur%%=*} before=$option= cur=${cur#*=}
    fi
    if ! _evtools_value "$program" "$option"; then
        if [[ $cur == -* ]]; then
            _evtools_options "$program"
        else
            _evtools_rest "$program"
        fi
    fi
    _evtools_reply
}

_evtools_reply() {
    local how=(-W "$words") found=() word
    case $kind in
        files) how=(-f) ;;
        folders) how=(-d) ;;
        users) how=(-u) ;;
        groups) how=(-g) ;;
    esac
    mapfile -t found < <(compgen "${how[@]}" -- "$cur")
    for word in "${found[@]}"; do COMPREPLY+=("$before$word"); done
    if [[ $kind == files || $kind == folders ]]; then
        compopt -o filenames
    elif [[ ${COMPREPLY[0]-} == *[:/] ]]; then
        compopt -o nospace
    fi
} 2>/dev/null

complete -F _evtools evtools evtop evdump evcam
"""


def script(programs: Sequence[Program]) -> str:
    """Return what bash has to read."""
    tools = [program.name for program in programs]
    words = {
        "evtools": Value("TOOL", words=(*tools, "help", "--help", "--version")),
        "help": Value("TOPIC", words=(*tools, *TOPICS)),
        **{each.program: each.rest for each in programs if each.rest},
    }
    return "\n".join(
        (
            _HEAD,
            *_function("program", _names(programs)),
            *_function("value", _values(programs), missing="return 1"),
            *_function("options", _options(programs)),
            *_function("rest", _cases(words)),
            _BODY,
        )
    )


def _function(name: str, cases: Iterator[str], *, missing: str = "") -> Iterator[str]:
    yield f"_evtools_{name}() {{"
    yield '    case "$*" in'
    yield from cases
    if missing:
        yield f"        *) {missing} ;;"
    yield "    esac"
    yield "}"
    yield ""


def _names(programs: Sequence[Program]) -> Iterator[str]:
    for each in programs:
        yield f'        {" | ".join(each.words)}) echo "{each.program}" ;;'


def _options(programs: Sequence[Program]) -> Iterator[str]:
    for each in programs:
        names = tuple(name for flag in each.flags for name in flag.names)
        yield f'        "{each.program}") {_set(Value("", words=names))} ;;'


def _values(programs: Sequence[Program]) -> Iterator[str]:
    """Yield the options that take a value; what takes the same goes together."""
    meanings: dict[str, dict[str, str]] = {}
    for each in programs:
        for flag in each.flags:
            action = _set(flag.value) if flag.value else ""
            for name in flag.names:
                meanings.setdefault(name, {})[each.program] = action
    groups: dict[str, list[str]] = {}
    for name, actions in meanings.items():
        if len({*actions.values()}) == 1:
            patterns = {f'*" {name}"': next(iter(actions.values()))}
        else:
            patterns = {f'"{each} {name}"': actions[each] for each in actions}
        for pattern, action in patterns.items():
            groups.setdefault(action, []).append(pattern)
    groups.pop("", None)
    for action, names in groups.items():
        lines = " | \\\n            ".join(names)
        yield f"        {lines}) {action} ;;"


def _cases(values: Mapping[str, Value]) -> Iterator[str]:
    for program, value in values.items():
        yield f'        "{program}") {_set(value)} ;;'


def _set(value: Value) -> str:
    if value.kind != "words":
        return f"kind={value.kind}"
    return f'words="{" ".join(value.words)}"'
