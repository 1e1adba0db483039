"""evcam: a cluster's state, at intervals, for a camera."""
