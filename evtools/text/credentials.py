"""Text of others, with the credentials of URLs hidden."""

import re

_CREDENTIALS = re.compile(r"(\w+://)[^/\s]*@")


def hide_credentials(text: str) -> str:
    """Return `text` without what stands before the host in its URLs.

    For exceptions and log records of others, which may quote whole URLs.
    """
    return _CREDENTIALS.sub(r"\1**@", text)
