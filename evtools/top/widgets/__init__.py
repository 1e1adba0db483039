"""The widgets of the screen; urwid is used here and in app.py only."""
