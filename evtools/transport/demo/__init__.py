"""A simulated cluster inside the process, for a first look without a broker."""

from evtools.transport.demo.cluster import URL, DemoCluster

__all__ = ["URL", "DemoCluster"]
