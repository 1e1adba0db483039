"""Metrics for Prometheus: instruments, their text, and what they tell of a cluster."""

from evtools.cam.metrics.catalogue import Scheme
from evtools.cam.metrics.cluster import ClusterMetrics
from evtools.cam.metrics.evcam import own_families
from evtools.cam.metrics.exposition import Family, Format, Sample, render
from evtools.cam.metrics.instruments import RUN_BUCKETS, SERIES_MAX, WAIT_BUCKETS
from evtools.cam.metrics.scrape import scrape
from evtools.cam.metrics.steps import STEPS, Steps

__all__ = [
    "RUN_BUCKETS",
    "SERIES_MAX",
    "STEPS",
    "WAIT_BUCKETS",
    "ClusterMetrics",
    "Family",
    "Format",
    "Sample",
    "Scheme",
    "Steps",
    "own_families",
    "render",
    "scrape",
]
