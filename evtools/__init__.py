"""Watch Celery clusters through their event stream."""

__version__ = "0.1.0"
