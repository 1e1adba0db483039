"""evtop: a cluster on one screen, live."""
