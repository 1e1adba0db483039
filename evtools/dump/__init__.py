"""evdump: every event of a cluster, to the terminal or as JSON Lines."""
