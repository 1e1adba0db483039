"""Keep passwords out of the process list."""

from collections.abc import Iterable, Sequence


def hide_secrets(arguments: Sequence[str], urls: str, others: Iterable[str] = ()) -> None:
    """Blank the secrets of `urls`, and others, in what `ps` shows of our command line.

    For a moment after the start they could be seen; `-b @FILE` never shows
    them at all.
    """
    from evtools.text import hide_credentials
    from evtools.transport.url import MASK, secrets

    title = " ".join(arguments)
    hidden = title
    for secret in sorted({*secrets(urls), *others} - {""}, key=len, reverse=True):
        hidden = hidden.replace(secret, MASK)
    # Those of --broker-command are of any kind.
    hidden = hide_credentials(hidden)
    if hidden != title:
        import setproctitle

        setproctitle.setproctitle(hidden)
