"""One stream for each kind of broker."""
