"""Who is whose child, and of which family."""


class Kin:
    """The tasks of workflows, by parent and by root.

    It holds uuids of tasks that were added and not discarded, and of nothing
    else; their parents need not be known.
    """

    def __init__(self) -> None:
        self._of: dict[str, tuple[str | None, str | None]] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._families: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, uuid: str, parent: str | None, root: str | None) -> None:
        """Add a task, or change what is known of it."""
        if root == uuid:
            root = None
        if self._of.get(uuid, (None, None)) == (parent, root):
            return
        self.discard(uuid)
        self._of[uuid] = (parent, root)
        for group, key in ((self._children, parent), (self._families, root)):
            if key is not None:
                group.setdefault(key, {})[uuid] = None

    def discard(self, uuid: str) -> None:
        """Forget a task, if it is here."""
        keys = self._of.pop(uuid, (None, None))
        for group, key in zip((self._children, self._families), keys, strict=True):
            if key is not None:
                members = group[key]
                del members[uuid]
                if not members:
                    del group[key]

    def clear(self) -> None:
        """Forget all."""
        self._of.clear()
        self._children.clear()
        self._families.clear()

    def children(self, uuid: str) -> tuple[str, ...]:
        """Return the children of a task in the order we heard of them."""
        return tuple(self._children.get(uuid, ()))

    def family(self, root: str) -> tuple[str, ...]:
        """Return the tasks whose root this is, in the order we heard of them."""
        return tuple(self._families.get(root, ()))
