"""A real headless Chromium, driven over its DevTools pipe: for tests of pages, with no package beside the browser.

Commands go to the browser's file descriptor 3 and answers come from its 4, as JSON objects that end in a null byte.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


class Browser:
    """A browser with one open page; a context manager. `requests` are the addresses that pages asked for so far."""

    def __init__(self, profile: Path):
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("Chromium is not installed: apt-get install chromium")
        low_from_us, self._commands = os.pipe()
        self._answers, low_to_us = os.pipe()
        # The shell moves the pipes to the numbers that the browser wants; those must not be theirs already.
        from_us, to_us = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (low_from_us, low_to_us))
        shell = f'exec "$@" 3<&{from_us} 4>&{to_us} {from_us}<&- {to_us}>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(from_us, to_us),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        for end in (low_from_us, low_to_us, from_us, to_us):
            os.close(end)
        self._unread = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.violations: list[str] = []
        self._loaded = False

    def __enter__(self) -> Self:
        page = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        self._call("Browser.close")
        self._process.wait(timeout=20)
        os.close(self._commands)
        os.close(self._answers)

    def look(self, width: int, dark: bool) -> None:
        """Set the width of the window in CSS pixels, and the preferred colours."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str, scripts: bool = True) -> None:
        """Go to an address and wait until it has loaded."""
        self._call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._loaded = False
        self._call("Page.navigate", url=address)
        while not self._loaded:
            self._read()

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; its own promises are waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, file: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        picture = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(picture["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser has ended"
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(line)
        event, values = message.get("method"), message.get("params", {})
        if event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Log.entryAdded" and values["entry"]["source"] in ("security", "javascript"):
            self.violations.append(values["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.violations.append(values["exceptionDetails"]["text"])
        elif event == "Page.loadEventFired":
            self._loaded = True
        return message
