"""Markup: the one place where text becomes HTML, escaped and made visible by default.

Whoever sends events chooses names, messages and tracebacks.  Nothing here takes a text as markup
but constants of this package; `el` escapes all other children and all attributes.
"""

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final, TypeAlias

from evtools.text import sanitize, sanitize_lines

if TYPE_CHECKING:
    from collections.abc import Iterable


class Html(str):
    """Text that is markup already; only this module makes it."""

    __slots__ = ()


#: What may stand in an element: markup as it is, all else as text; None is nothing.
Child: TypeAlias = "Html | str | int | float | Iterable[Child] | None"
_VOID: Final = frozenset(("br", "meta", "rect", "path", "line", "polyline", "circle", "wbr"))


def html(*children: Child) -> Html:
    """Return children one after the other as markup."""
    return Html("".join(map(_markup, children)))


def _markup(child: Child) -> str:
    if isinstance(child, Html):
        return child
    if child is None:
        return ""
    if isinstance(child, str | int | float):
        return escape(sanitize(str(child)))
    return html(*child)


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return an element; `class_` is its class, `_` in names of attributes becomes `-`.

    An attribute that is None or False is left out, one that is True has no value.
    """
    shown = []
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            shown.append(f" {word}")
        elif value is not None and value is not False:
            text = f"{value:.6g}" if isinstance(value, float) else sanitize(str(value))
            shown.append(f' {word}="{escape(text)}"')
    head = f"<{name}{''.join(shown)}"
    # In SVG what is not closed would contain all that follows.
    return Html(f"{head}/>" if name in _VOID else f"{head}>{html(*children)}</{name}>")


def lines(text: str) -> Html:
    """Return a text of several lines as it is laid out; all but the ends of lines made visible."""
    return Html(f"<pre>{escape(sanitize_lines(text))}</pre>")


def breakable(text: str) -> Html:
    """Return a long name, which may be broken at its dots and the like."""
    shown = escape(sanitize(text))
    for character in "._@/":
        shown = shown.replace(character, f"{character}<wbr>")
    return Html(shown)


def document(title: str, body: Html) -> bytes:
    """Return the page: it loads nothing, and nothing but its own style and script can be in it."""
    policy = (
        f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}';"
        " base-uri 'none'; form-action 'none'"
    )
    head = html(
        el("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        Html(f"<style>{STYLE}</style>"),
    )
    page = f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n'
    return f"{page}<script>{SCRIPT}</script></body></html>\n".encode()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# --- what it looks like ---------------------------------------------------------------

STYLE: Final = """
:root {
  --page: #f6f7f9; --card: #fff; --text: #1c2430; --dim: #5b6675; --line: #dde2e9; --faint: #eef1f5;
  --good: #1f7190; --bad: #c4372c; --again: #8a5a00; --retry: #d39c2f; --wait: #9aa7b8;
  --note: #fff6e0; --note-line: #e3b341;
  --h1: #e1edf5; --h2: #c6deed; --h3: #a3cbe1; --h4: #79b2d2; --h5: #4e96bf; --h6: #2c78a5;
    --h7: #175a85; --h8: #0a3a5b;
  --p50: #e08a00; --p95: #c4372c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --text: #e4e9f0; --dim: #9aa5b4; --line: #323b48;
    --faint: #222a35; --good: #4fb3d4; --bad: #f0716a; --again: #e0b04c; --retry: #e0b04c;
    --wait: #5c6a7d;
    --note: #2d2713; --note-line: #8a6d1f;
    --h1: #1d3342; --h2: #21465c; --h3: #265c7a; --h4: #2f789d; --h5: #4197c0; --h6: #66b4d8;
    --h7: #98d0ec; --h8: #d8f0fc;
    --p50: #ffb547; --p95: #ff7a70;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body {
  margin: 0; background: var(--page); color: var(--text); line-height: 1.45;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 4px; }
h3 { font-size: 15px; margin: 0; }
p { margin: 4px 0 10px; }
a { color: var(--good); }
.dim, .lead, figcaption small, th small { color: var(--dim); }
.lead { max-width: 80ch; margin-bottom: 12px; }
.story { max-width: 80ch; margin: 16px 0 0; font-size: 17px; overflow-wrap: anywhere; }
nav { margin: 14px 0 0; font-size: 14px; }
nav a { margin-right: 14px; white-space: nowrap; }
code, pre, .mono { font: 13px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0 0; }
.facts dt { color: var(--dim); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(126px, 1fr)); gap: 12px;
  margin: 22px 0 0; padding: 0; list-style: none; }
.cards li { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; }
.cards .label { display: block; color: var(--dim); font-size: 13px; }
.cards .figure { display: block; font-size: 24px; line-height: 1.3; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.cards .more { display: block; color: var(--dim); font-size: 13px; }
.bad { color: var(--bad); }
.again { color: var(--again); }
.note, .fine { border: 1px solid var(--line); border-left: 4px solid var(--good);
  background: var(--card); border-radius: 6px; padding: 10px 14px; margin: 22px 0 0; }
.note { background: var(--note); border-color: var(--note-line); }
.note ul { margin: 4px 0 0; padding-left: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 16px 10px; margin: 12px 0 0; }
figure { margin: 0; }
figcaption { display: flex; flex-wrap: wrap; gap: 2px 18px; align-items: baseline; }
.key { display: inline-block; font-size: 13px; color: var(--dim); white-space: nowrap; }
.key svg { width: 12px; height: 12px; vertical-align: -1px; margin-right: 5px; }
.key.shaded svg { width: 96px; margin: 0 5px; }
.plot { display: grid; grid-template-columns: 58px 1fr; margin-top: 10px; }
.plot > svg { display: block; width: 100%; overflow: visible; }
svg text { fill: var(--dim); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial,
  sans-serif; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
.base { stroke: var(--dim); stroke-width: 1; shape-rendering: crispEdges; }
.s-good { fill: var(--good); } .s-bad { fill: var(--bad); } .s-again { fill: var(--retry); }
.s-wait { fill: var(--wait); } .s-gap { fill: var(--retry); fill-opacity: .22; }
.s-unknown { fill: none; stroke: var(--dim); stroke-dasharray: 3 2; }
.h1 { fill: var(--h1); } .h2 { fill: var(--h2); } .h3 { fill: var(--h3); }
.h4 { fill: var(--h4); } .h5 { fill: var(--h5); } .h6 { fill: var(--h6); }
.h7 { fill: var(--h7); } .h8 { fill: var(--h8); }
.l-p50, .l-p95 { fill: none; stroke-width: 2; stroke-linejoin: round; }
.l-p50 { stroke: var(--p50); } .l-p95 { stroke: var(--p95); stroke-dasharray: 5 3; }
.halo { stroke: var(--card); stroke-width: 4; stroke-dasharray: none; }
.crisp { shape-rendering: crispEdges; }
.scroll { overflow-x: auto; margin: 12px 0 0; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 6px 10px; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--faint); }
tr:last-child > td { border-bottom: 0; }
thead th { border-bottom: 1px solid var(--line); font-size: 13px; font-weight: 600;
  white-space: nowrap; vertical-align: bottom; }
th button { all: unset; cursor: pointer; font: inherit; }
th button:focus-visible, .scroll:focus-visible, summary:focus-visible, a:focus-visible {
  outline: 2px solid var(--good); outline-offset: 2px; }
th[aria-sort] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
thead td { border: 0; padding: 0; }
th.group { text-align: center; color: var(--dim); font-weight: 400; padding-bottom: 0; border: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { min-width: 12em; overflow-wrap: anywhere; }
td.id { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.nowrap { white-space: nowrap; }
td.over { vertical-align: middle; padding-top: 2px; padding-bottom: 2px; }
td .spark { display: block; width: 110px; height: 22px; }
.rest { color: var(--dim); font-size: 14px; margin: 6px 2px 0; }
.error { padding: 12px 16px; }
.error h3 { display: flex; gap: 12px; align-items: baseline; overflow-wrap: anywhere; }
.error h3 b { font-size: 20px; font-variant-numeric: tabular-nums; color: var(--bad); }
.error p { margin: 4px 0; overflow-wrap: anywhere; }
details { margin: 6px 0 2px; }
summary { cursor: pointer; color: var(--good); width: fit-content; }
pre { overflow-x: auto; margin: 8px 0; padding: 10px 12px; background: var(--faint);
  border-radius: 6px; tab-size: 4; }
.steps { display: grid; grid-template-columns: minmax(220px, 34%) 1fr; gap: 0 14px;
  font-size: 14px; }
.steps > * { border-bottom: 1px solid var(--faint); padding: 3px 0; min-width: 0; }
.steps .task { overflow-wrap: anywhere; }
.steps .tree { white-space: pre; color: var(--dim); font: 13px ui-monospace, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; }
.steps .times { display: block; color: var(--dim); font-size: 12.5px; }
.steps .bar svg { display: block; width: 100%; height: 20px; overflow: visible; }
.steps .chosen { font-weight: 600; }
.steps .chosen .times { font-weight: 400; }
footer { color: var(--dim); font-size: 13.5px; padding: 20px 20px 40px; }
footer dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; }
footer dd { margin: 0; }
@media (max-width: 700px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; }
  .wide { display: none; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .cards .figure { font-size: 20px; }
  .cards li:first-child { grid-column: span 2; }
  .card, .error { padding: 12px; }
  .steps { grid-template-columns: 1fr; }
  .steps .task { border: 0; padding-bottom: 0; }
  .steps .axis-name { display: none; }
  .facts, footer dl { grid-template-columns: 1fr; gap: 0; }
  .facts dd, footer dd { margin-bottom: 6px; }
}
@page { margin: 12mm; }
@media print {
  :root {
    --page: #fff; --card: #fff; --text: #000; --dim: #444; --line: #bbb; --faint: #e6e6e6;
    --good: #1f7190; --bad: #c4372c; --again: #8a5a00; --retry: #d39c2f; --wait: #9aa7b8;
    --note: #fff; --note-line: #888;
    --h1: #e1edf5; --h2: #c6deed; --h3: #a3cbe1; --h4: #79b2d2; --h5: #4e96bf; --h6: #2c78a5;
    --h7: #175a85; --h8: #0a3a5b;
    --p50: #e08a00; --p95: #c4372c;
  }
  html { color-scheme: light; }
  body { font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  nav, summary { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .scroll { overflow: visible; border: 0; }
  table { font-size: 7pt; }
  thead th { font-size: 7pt; white-space: normal; }
  th, td { padding: 2px 3px; }
  td.id, td code { font-size: 6.5pt; white-space: normal; overflow-wrap: anywhere; }
  td .spark { width: 48px; height: 14px; }
  thead { display: table-header-group; }
  .name { min-width: 0; }
  .nowrap { white-space: normal; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8pt; }
  h2 { break-after: avoid; }
  tr, figure, .error h3, .cards li { break-inside: avoid; }
}
"""

#: Sorts tables by a click on a heading; without it they are all there, as they are.
SCRIPT: Final = """
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const value = row => row.cells[at].dataset.v ?? row.cells[at].textContent;
    button.addEventListener("click", () => {
      const numbers = head.classList.contains("n");
      const before = head.getAttribute("aria-sort") ?? (numbers ? "ascending" : "descending");
      const down = before === "ascending";
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((one, two) => {
        const [a, b] = [value(one), value(two)];
        if (numbers && (a === "" || b === "")) return (a === "") - (b === "");
        const order = numbers ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
"""
