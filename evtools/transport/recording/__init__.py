"""Recordings: the event stream as JSON Lines, written by -w and replayed by -r."""
