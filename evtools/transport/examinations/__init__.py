"""One examination for each kind of broker."""
