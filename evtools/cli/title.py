"""Keep passwords out of the process list."""

from collections.abc import Iterable, Sequence


def hide_secrets(arguments: Sequence[str], urls: str, others: Iterable[str] = ()) -> None:
    """Blank the secrets of `urls`, and others, in what `ps` shows of our command line.

    For a moment after the start they could be seen; `-b @FILE` never shows
    them at all.
    """
    from evtools.text import hide_credentials  # noqa: PLC0415  (start-up time)
    from evtools.transport.url import MASK, secrets  # noqa: PLC0415  (start-up time)

    title = " ".join(arguments)
    hidden = title
    for secret in sorted({*secrets(urls), *others} - {""}, key=len, reverse=True):
        hidden = hidden.replace(secret, MASK)
    # Those of --broker-command are of any kind.
    hidden = hide_credentials(hidden)
    if hidden != title:
        import setproctitle  # noqa: PLC0415  (costs only those who need it)

        setproctitle.setproctitle(hidden)
