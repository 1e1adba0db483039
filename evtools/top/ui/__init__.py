"""The screen; urwid is used here only."""
