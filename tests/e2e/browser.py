"""A real browser, driven by the WebDriver protocol through Debian's chromedriver."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from tests.e2e.processes import free_port, need, request

_ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    def __init__(self) -> None:
        driver = need("chromedriver", "chromium-driver")
        binary = need("chromium", "chromium")
        port = free_port()
        self._base = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        self._session = ""
        self._wait_ready()
        options = {"binary": binary, "args": list(_ARGS)}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self._session = self._call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def close(self) -> None:
        try:
            if self._session:
                self._call("DELETE", f"/session/{self._session}")
        finally:
            self._driver.terminate()
            self._driver.wait(10)

    def open(self, url: str) -> None:
        self._in_session("url", {"url": url})

    def click(self, xpath: str) -> None:
        """The first element that the expression finds."""
        found = self._in_session("element", {"using": "xpath", "value": xpath})
        (element,) = found.values()
        self._in_session(f"element/{element}/click", {})

    def text(self) -> str:
        """All that is seen of the page."""
        return str(self.run("return document.body.innerText"))

    def run(self, script: str) -> Any:
        return self._in_session("execute/sync", {"script": script, "args": []})

    def resize(self, width: int, height: int) -> None:
        self._in_session("window/rect", {"width": width, "height": height})

    def prefer(self, scheme: str) -> None:
        """light or dark"""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._in_session("goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def _in_session(self, command: str, body: dict[str, Any]) -> Any:
        return self._call("POST", f"/session/{self._session}/{command}", body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        answer = request(self._base + path, data=data, method=method, headers={"content-type": "application/json"})
        value = answer.json()["value"]
        if answer.status != 200:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if request(f"{self._base}/status").json()["value"]["ready"]:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("chromedriver does not start")
