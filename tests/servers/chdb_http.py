"""Serve the engine that chdb ships over HTTP as ClickHouse does, for what evcam asks of it.

Run with the folder of the engine, that of the data, and a port.  The package itself needs pandas,
and pyarrow; the engine does not.
"""

from __future__ import annotations

import gzip
import http.server
import re
import sys
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_lock = threading.Lock()
_OF_HTTP = {"query", "wait_end_of_query"}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connection_: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        statement = f"{given.get('query', '')}\n{body.decode()}".strip()
        settings = {"insert_deduplication_token": "", **given}
        status, code, answer = 200, "", b""
        with _lock:
            try:
                for name in settings.keys() - _OF_HTTP:
                    self.connection_.query(f"SET {name} = '{settings[name]}'", "Null")
                answer = self.connection_.query(statement, "TSV").bytes() or b""
            except RuntimeError as error:
                answer = str(error).encode()
                found = re.match(r"Code: (\d+)", str(error))
                status, code = 500, found[1] if found else "1"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    engine, folder, port = sys.argv[1:]
    sys.path.insert(0, engine)
    import _chdb

    _Handler.connection_ = _chdb.connect(folder)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main()
