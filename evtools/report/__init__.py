"""evtools report: what recordings show, as one page for people who were not there."""
