"""Headless Chromium through its DevTools protocol: enough to open a page, press keys, read, and take a picture.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
_SPECIAL: Final = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}


class Chromium:
    """One browser with one page; a context manager.

    Args:
        profile: an empty folder for the browser's user data.

    Attributes:
        faults: exceptions of the page and errors in its console, in words.
        requested: every URL that the page asked for.
    """

    def __init__(self, profile: Path, width: int = 1400, height: int = 860) -> None:
        assert PROGRAM is not None
        self.faults: list[str] = []
        self.requested: list[str] = []
        self._next = 0
        command = [PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._open = contextlib.ExitStack()
        try:
            self._socket: ClientConnection = self._open.enter_context(self._connect())
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        except BaseException:
            self._process.kill()
            raise

    def _connect(self) -> contextlib.AbstractContextManager[ClientConnection]:
        assert self._process.stderr is not None
        # It says where it listens; its other lines are of no interest.
        for line in self._process.stderr:
            if "DevTools listening on ws://" in line:
                address = line.split("ws://")[1].split("/")[0]
                break
        else:
            raise RuntimeError("chromium ended before it listened")
        with urllib.request.urlopen(f"http://{address}/json/list", timeout=30) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        return connect(pages[0]["webSocketDebuggerUrl"], max_size=None, open_timeout=30)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._process.terminate()
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def call(self, method: str, **parameters: Any) -> Any:
        """One command and its answer; what the page reports meanwhile is noted."""
        self._next += 1
        number = self._next
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        kind, told = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description") or details["text"])
        elif kind == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.faults.append(str([argument.get("value") for argument in told["args"]]))
        elif kind == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.faults.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif kind == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])

    def open(self, url: str) -> None:
        """Go to a page; return when its script has run."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def read(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression: str, timeout: float = 20.0) -> None:
        """Wait in the page until the expression is true."""
        condition = f"(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()"
        promise = f"""new Promise((resolve) => {{
            const end = performance.now() + {timeout * 1000};
            (function look() {{
                const value = {condition};
                if (value || performance.now() > end) resolve(Boolean(value)); else setTimeout(look, 20);
            }})();
        }})"""
        deadline = time.monotonic() + timeout
        while True:
            # A page that makes way for another one while it is asked answers with an error.
            with contextlib.suppress(RuntimeError):
                if self.read(promise):
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:g} s: {expression}\n{self.read('document.body.innerText')[:2000]}")

    def press(self, *keys: str) -> None:
        """Press and release keys, one after another."""
        for key in keys:
            told = {"key": key, **({"windowsVirtualKeyCode": _SPECIAL[key]} if key in _SPECIAL else {"text": key})}
            self.call("Input.dispatchKeyEvent", type="keyDown", **told)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def dark(self, dark: bool) -> None:
        """What the system is said to prefer."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
