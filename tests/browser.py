"""A headless Chromium, spoken to over a pipe in its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_AXE = find_spec("axe_core_python")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or _AXE is None, reason="no Chromium or no axe-core-python is installed"
)
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """One page of one browser, which is ended on leaving the context.

    Args:
        profile: an empty folder for the browser's own files.
    """

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The protocol is fixed to the file descriptors 3 and 4.
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, "-", CHROMIUM, *_QUIET, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._n, self._session, self._buffer = 0, None, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self._call("Page.enable")
        self._call("Network.enable")
        self._call("Runtime.enable")
        self._call("Log.enable")
        self.requests: list[str] = []
        self.errors: list[str] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._in)
        os.close(self._out)

    def open(self, page: Path | str, width: int, height: int = 900, scheme: str = "light") -> None:
        """Show a file or an address in a window of this width; below 700 pixels it is a phone."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)
        self.requests.clear()
        self.errors.clear()
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self._call("Page.navigate", url=url)
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def assert_sound(self, host: str = "") -> None:
        """No error, no request to another host, and nothing that axe-core finds wrong."""
        assert self.errors == []
        own = ("data:", "blob:", "file:", *([host] if host else []))
        assert [url for url in self.requests if not url.startswith(own)] == []
        self.ask((Path(_AXE.origin).parent / "axe.min.js").read_text(encoding="utf-8") + ";0")
        violations = self.ask(
            "axe.run().then(found => found.violations.map(v => v.id + ': ' + v.nodes[0].html))"
        )
        assert violations == []

    def press_tab(self) -> None:
        self.press("Tab", 9)

    def press(self, key: str, number: int) -> None:
        """Press a key, by its name and the number that Windows gives it."""
        for kind in ("rawKeyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number
            )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Move the mouse from one place of the window to another with its button pressed."""
        steps = [("mouseMoved", start, 0), ("mousePressed", start, 1), ("mouseMoved", end, 1)]
        for kind, (x, y), buttons in [*steps, ("mouseReleased", end, 0)]:
            self._call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=buttons, button="left"
            )

    def wait_for(self, expression: str) -> None:
        """Wait until an expression in the page holds."""
        promise = f"""new Promise((resolve, reject) => {{
            const start = Date.now();
            const look = () => {expression} ? resolve()
                : Date.now() - start > 20000 ? reject(new Error("in vain")) : setTimeout(look, 20);
            look();
        }})"""
        self.ask(promise)

    def picture(self, path: Path) -> None:
        """Write a screenshot of the whole page."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._n += 1
        message = {"id": self._n, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._n:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], 60)[0], "the browser says nothing"
            read = os.read(self._in, 1 << 20)
            assert read, "the browser has gone"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer = json.loads(message)
        method, params = answer.get("method"), answer.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(str(params["args"]))
        return answer
