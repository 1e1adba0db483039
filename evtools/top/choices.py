"""The values that some of evtop's options can have; cheap to import for --help."""

from typing import Final, Literal, TypeAlias, get_args

View: TypeAlias = Literal["tasks", "types", "workers", "queues", "events", "errors"]
Window: TypeAlias = Literal["1m", "5m", "15m", "1h", "all"]
TimeStyle: TypeAlias = Literal["age", "local", "utc"]
Theme: TypeAlias = Literal["dark", "light", "cb", "mono"]
Output: TypeAlias = Literal["table", "csv", "json"]

VIEWS: Final[tuple[View, ...]] = get_args(View)
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
TIME_STYLES: Final[tuple[TimeStyle, ...]] = get_args(TimeStyle)
THEMES: Final[tuple[Theme, ...]] = get_args(Theme)
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)
