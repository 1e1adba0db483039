"""Credentials in text from outside, hidden."""

import re
from typing import Final

#: The longest password that is looked for, as hostile text must not take long.
_LONG: Final = "{1,300}"
#: What is not hidden in a URL: placeholders in messages of evtools, and masks.
_OURS: Final = r"(?-i:USER)?:?(?-i:PASSWORD)?@|[^/\s@]{0,100}:?\*\*@"
#: Names whose value is a password, and those that are one for sure.
_SURE: Final = "passwo?r?d|passwd|passphrase|pwd|secret|api_?key|access_?key"
_NAMES: Final = rf"{_SURE}|token|private_?key|credentials?|(?<![a-z])pass|(?<![a-z])auth"

# fmt: off
#: What is hidden, and its replacement.
_RULES: Final = tuple((re.compile(pattern, re.IGNORECASE), mask) for pattern, mask in (
    # Before the host of a URL.  A password with a slash is a mistake, but happens.
    (rf"(://)(?!{_OURS})[^/\s]*@", r"\1**@"),
    (rf"(://)(?!{_OURS})[^\s/@:]{{0,100}}:(?!\d{{1,5}}/)[^\s@]{_LONG}@", r"\1**@"),
    (rf"(%3A%2F%2F)(?:(?!%40)[^\s&]){_LONG}%40", r"\1**%40"),
    # Headers of HTTP.
    (rf"(authorization[\"']?[ ]?[:=,][ ]?[\"']?(?:basic|bearer|token)?)[ ]?[^\s\"',]{_LONG}",
     r"\1 **"),
    (r"\b(bearer) [\w.~+/=-]{8,300}", r"\1 **"),
    # password='x', PWD={x};, "password": "x", (b'password', 'x') and
    # api_key=x; an unquoted word after a colon only if it is a password for sure.
    ((rf"((?:{_NAMES})[\"'`]?\s{{0,3}}(?:=>?|:(?=\s{{0,3}}b?[\"'{{])|,(?=\s{{0,3}}b?[\"']))\s{{0,3}}b?)"
     r"(?![\"']?\*\*)(?:'(?:[^'\\]|\\.){0,300}'|\"(?:[^\"\\]|\\.){0,300}\"|\{[^}]{0,300}\}"
     r"|[^\s,;&)\]}>\"']{1,300})"), r"\1**"),
    (rf"((?:{_SURE}):\s{{0,3}})(?!\*\*)[^\s,;&)\]}}>\"'({{]{_LONG}(?=$|[\s,;&)\]}}>])(?! \w+ )",
     r"\1**"),
    ((r"(--(?!tls-key|event-routing-key)[\w-]{0,40}(?:password|secret|token|key)[\"']?,?[ ][\"']?)"
     r"(?!\*\*)[^\s,\"'-][^\s,\"']{0,300}"), r"\1**"),
    # Commands of Redis.
    (r"(\b(?:AUTH|HELLO)[`'\"]?,? with args beginning with: ).*", r"\1**"),
    ((r"(\b(?-i:AUTH|REQUIREPASS|MASTERAUTH|requirepass|masterauth)(?:[`'\"],?)?[ ])"
     r"(?!<|\*\*|(?:failed|called|command|with|without|is|error|required)\b)"
     r"(?:[`'\"]?[^\s`'\"]{1,300}[`'\"]?)(?:[ ][`'\"]?[^\s`'\"]{1,300}[`'\"]?)?"), r"\1**"),
))
# fmt: on


def hide_credentials(text: str) -> str:
    """Return `text` without the passwords that can be recognised in it.

    For exceptions and log records from elsewhere, which may quote whole URLs or the arguments of a
    connection.  Applied where text leaves the program: logs, stderr, HTTP, systemd.
    """
    for pattern, mask in _RULES:
        text = pattern.sub(mask, text)
    return text
