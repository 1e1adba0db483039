"""HTTP for scrapers and probes."""

from evtools.cam.http.address import Address
from evtools.cam.http.connection import Request, Response, refusal
from evtools.cam.http.server import HTTPServer, Route

__all__ = ["Address", "HTTPServer", "Request", "Response", "Route", "refusal"]
