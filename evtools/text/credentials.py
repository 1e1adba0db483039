"""Text of others, with the credentials in it hidden."""

import re
from typing import Final

#: A longer password is not looked for: text of others must not take long.
_LONG: Final = "{1,300}"
#: What stands in URLs of ours: placeholders, and what is hidden already.
_OURS: Final = r"(?-i:USER)?:?(?-i:PASSWORD)?@|[^/\s@]{0,100}:?\*\*@"

#: What is hidden, and what stands in its place.
_RULES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        # In front of a URL's host.  A password may have a slash, which is a mistake.
        (rf"(://)(?!{_OURS})[^/\s]*@", r"\1**@"),
        (rf"(://)(?!{_OURS})[^\s/@:]{{0,100}}:(?!\d{{1,5}}/)[^\s@]{_LONG}@", r"\1**@"),
        (rf"(%3A%2F%2F)(?:(?!%40)[^\s&]){_LONG}%40", r"\1**%40"),
        # Headers of HTTP.
        (
            (
                rf"(authorization[\"']?[ ]?[:=,][ ]?[\"']?(?:basic|bearer|token)?)[ ]?"
                rf"[^\s\"',]{_LONG}"
            ),
            r"\1 **",
        ),
        (r"\b(bearer) [\w.~+/=-]{8,300}", r"\1 **"),
        # password='x', PWD={x};, "password": "x", (b'password', 'x') and
        # api_key=x; as an unquoted word after a colon only what is a password for sure.
        (
            (
                r"((?:passwo?r?d|passwd|passphrase|pwd|secret|token|api_?key|access_?key"
                r"|private_?key|credentials?|(?<![a-z])pass|(?<![a-z])auth)"
                r"[\"'`]?\s{0,3}(?:=>?|:(?=\s{0,3}b?[\"'{])|,(?=\s{0,3}b?[\"']))\s{0,3}b?)"
                r"(?![\"']?\*\*)(?:'(?:[^'\\]|\\.){0,300}'|\"(?:[^\"\\]|\\.){0,300}\"|\{[^}]{0,300}\}"
                r"|[^\s,;&)\]}>\"']{1,300})"
            ),
            r"\1**",
        ),
        (
            (
                r"((?:passwo?r?d|passwd|passphrase|pwd|secret|api_?key|access_?key)"
                r":\s{0,3})(?!\*\*)[^\s,;&)\]}>\"'({]{1,300}(?=$|[\s,;&)\]}>])(?! \w+ )"
            ),
            r"\1**",
        ),
        (
            (
                r"(--(?!tls-key|event-routing-key)[\w-]{0,40}"
                r"(?:password|secret|token|key)[\"']?,?[ ][\"']?)"
                r"(?!\*\*)[^\s,\"'-][^\s,\"']{0,300}"
            ),
            r"\1**",
        ),
        # Commands of Redis.
        (r"(\b(?:AUTH|HELLO)[`'\"]?,? with args beginning with: ).*", r"\1**"),
        (
            (
                r"(\b(?-i:AUTH|REQUIREPASS|MASTERAUTH|requirepass|masterauth)"
                r"(?:[`'\"],?)?[ ])"
                r"(?!<|\*\*|(?:failed|called|command|with|without|is|error|required)\b)"
                r"(?:[`'\"]?[^\s`'\"]{1,300}[`'\"]?)"
                r"(?:[ ][`'\"]?[^\s`'\"]{1,300}[`'\"]?)?"
            ),
            r"\1**",
        ),
    )
)


def hide_credentials(text: str) -> str:
    """Return `text` without passwords, as far as they can be told.

    For exceptions and log records of others, which may quote whole URLs, or
    what a connection was made with.  It stands where text leaves us: in logs,
    on stderr, over HTTP, towards systemd.
    """
    for pattern, shown in _RULES:
        text = pattern.sub(shown, text)
    return text
