"""A headless Chromium, driven over the DevTools protocol, and what it says of a page."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tornado.websocket import websocket_connect

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
_DEADLINE = 50
_LONGEST = 2**28


class Page:
    """What was seen of a page: messages of the console, and requests that it made."""

    def __init__(self) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []


class Browser:
    """One browser with one tab; `with` ends it."""

    def __init__(self, home: Path) -> None:
        found = shutil.which("chromium") or shutil.which("chromium-headless-shell")
        assert found is not None, "install chromium: scripts/servers.sh does"
        self._home = home
        self._process = subprocess.Popen(
            [found, *_FLAGS, f"--user-data-dir={home}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "HOME": str(home), "TZ": "UTC"}, start_new_session=True,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)
        self._socket: Any = None
        self._page = Page()

    def __enter__(self) -> Self:
        self._loop.run_until_complete(asyncio.wait_for(self._connect(), _DEADLINE))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._socket is not None:
            self._socket.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connect(self) -> None:
        # The browser says on stderr where it listens.
        assert self._process.stderr is not None
        url = ""
        while not url:
            line = await asyncio.to_thread(self._process.stderr.readline)
            assert line, "the browser has ended"
            _, found, rest = line.decode().partition("DevTools listening on ")
            url = rest.strip() if found else ""
        self._socket = await websocket_connect(url, max_message_size=_LONGEST)
        targets = await self._ask("Target.getTargets")
        (tab,) = [one for one in targets["targetInfos"] if one["type"] == "page"]
        attached = await self._ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._ask(f"{domain}.enable")

    _session = ""

    async def _ask(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.write_message(json.dumps(message))
        while True:
            answer = await self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def _next(self) -> Any:
        text = await self._socket.read_message()
        assert text is not None, "the browser has gone"
        message = json.loads(text)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self._page.console.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self._page.console.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self._page.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self._page.requests.append(params["request"]["url"])
        return message

    def ask(self, method: str, **params: Any) -> Any:
        """Send a command; return its result."""
        return self._loop.run_until_complete(
            asyncio.wait_for(self._ask(method, **params), _DEADLINE)
        )

    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        dark: bool = False,
        script: bool = True,
        media: str = "",
    ) -> Page:
        """Open a page in a window so wide, in pixels; return what is seen of it from then on.

        Its media are a screen, or `print`.
        """
        self._page = Page()
        self.ask("Emulation.setDeviceMetricsOverride",
                 width=width, height=900, deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self._loop.run_until_complete(asyncio.wait_for(self._load(url), _DEADLINE))
        return self._page

    async def _load(self, url: str) -> None:
        await self._ask("Page.navigate", url=url)
        while (await self._next()).get("method") != "Page.loadEventFired":
            pass

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(
        self, path: Path, *, top: int = 0, height: int = 0, kind: str = "png", **how: Any
    ) -> None:
        """Take a picture of the whole page, or of so many of its pixels from `top` on."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"],
                "scale": how.pop("scale", 1)}  # fmt: skip
        found = self.ask("Page.captureScreenshot", format=kind, clip=clip,
                         captureBeyondViewport=True, **how)  # fmt: skip
        path.write_bytes(base64.b64decode(found["data"]))

    def paper(self, path: Path) -> None:
        """Print the page into a file of PDF."""
        found = self.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))
