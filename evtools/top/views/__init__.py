"""The six views of evtop, one module each."""
