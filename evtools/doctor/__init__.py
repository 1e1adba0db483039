"""evtools doctor: why nothing shows, in findings that say what to type."""
