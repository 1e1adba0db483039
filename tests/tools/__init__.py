"""The real commands, run as a user runs them."""
