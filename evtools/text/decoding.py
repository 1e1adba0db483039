"""Text files as other systems write them."""


def encoding_of(head: bytes) -> str:
    """Return the codec of a text, by its first bytes.

    Windows marks UTF-8 and UTF-16 by a byte order mark; without one, UTF-16 is
    known by the zeros beside the first letter.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(head) > 1 and head[0] and not head[1]:
        return "utf-16-le"
    if len(head) > 1 and not head[0] and head[1]:
        return "utf-16-be"
    return "utf-8-sig"


def decode_text(data: bytes) -> str:
    r"""Return the content of a text file, with "\n" at the ends of its lines.

    UTF-8 and UTF-16, with or without a byte order mark.  Raise
    UnicodeDecodeError for what is neither.
    """
    text = data.decode(encoding_of(data)).removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n")
