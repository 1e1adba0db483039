"""A simulated cluster inside the process, for a first look without a broker."""

from evtools.transport.demo.cluster import URL, DemoCluster, demo_settings

__all__ = ["URL", "DemoCluster", "demo_settings"]
