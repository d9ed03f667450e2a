"""A real browser, Debian's Chromium without a window, driven by its own protocol over a websocket."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
).split()
PATIENCE_S = 15.0
"""How long the page may take for what it is waited for."""
CODES = {"Enter": 13, "Escape": 27, "Tab": 9}

CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].reduce((sum, value, place) => {
    const part = value / 255;
    return sum + [.2126, .7152, .0722][place] * (part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
  }, 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = numbers(getComputedStyle(node).backgroundColor);
      if (color[3] !== 0) return light(color);
    }
    return 1;
  };
  const found = [];
  for (const node of document.querySelectorAll("header *, main *")) {
    const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen, :disabled, option")) continue;
    const both = [light(numbers(getComputedStyle(node).color)), ground(node)].sort((a, b) => b - a);
    const ratio = (both[0] + .05) / (both[1] + .05);
    if (ratio < 4.5) found.push(`${node.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"""
"""Texts that are hard to read, with the contrast they have."""


class Tab:
    """One page in a browser profile of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        self._session = ""
        self.errors: list[str] = []
        """What went wrong in scripts, and what the policy of the page forbade."""
        self.requested: list[str] = []
        """The addresses that were asked."""
        self._traced: list[dict[str, Any]] = []
        self._is_traced = asyncio.Event()

    async def open(self) -> None:
        """Make the page."""
        profile = (await self.send("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=profile))["targetId"]
        self._session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            await self.send(f"{domain}.enable")

    async def close(self) -> None:
        """Leave; the profile goes with the connection."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.close()

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params, **session}))
        told = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in told, told
        return dict(told["result"])

    async def run(self, script: str) -> Any:
        """Return the value of an expression in the page, awaited where it is a promise."""
        told = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def until(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            if found := await self.run(script):
                return found
            await asyncio.sleep(0.02)
        seen = await self.run("document.body.innerText")
        raise AssertionError(f"{script} was not true in {PATIENCE_S:g} s; errors: {self.errors}; the page:\n{seen}")

    async def go(self, address: str) -> None:
        """Open an address, and wait until the first list is there, or the key is asked for."""
        await self.send("Page.navigate", url=address)
        await self.until("document.querySelector('#pipeline option, #contexts a, dialog[open]') !== null")

    async def write(self, selector: str, text: str) -> None:
        """Write into a field, as by keys."""
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, *, ctrl: bool = False, shift: bool = False) -> None:
        """Press a key, wherever the focus is."""
        modifiers = 2 * ctrl + 8 * shift
        told = {"key": key, "code": key, "windowsVirtualKeyCode": CODES[key], "modifiers": modifiers}
        await self.send("Input.dispatchKeyEvent", type="rawKeyDown", **told)
        if key == "Enter" and not ctrl:
            await self.send("Input.dispatchKeyEvent", type="char", text="\r", **told)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    async def click(self, selector: str) -> None:
        """Click what a selector finds first."""
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def text(self, selector: str) -> str:
        """Return the text of what a selector finds first."""
        return str(await self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    async def attach(self, selector: str, *files: Path) -> None:
        """Choose files in a field for files."""
        root = (await self.send("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.send("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    async def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the window a size, and the light that its user prefers."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def begin_trace(self) -> None:
        """Begin to note the tasks of the browser."""
        self._traced.clear()
        self._is_traced.clear()
        await self.send("Tracing.start", traceConfig={"includedCategories": ["toplevel"]})

    async def longest_task_ms(self) -> float:
        """End the trace, and return the CPU time of the longest task of the thread that draws the page."""
        await self.send("Tracing.end")
        await asyncio.wait_for(self._is_traced.wait(), PATIENCE_S)
        drawing = {
            (each["pid"], each["tid"])
            for each in self._traced
            if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
        }
        return float(max(each.get("tdur", 0) for each in self._traced if (each["pid"], each["tid"]) in drawing)) / 1000

    async def faint_texts(self) -> list[str]:
        """Return the texts that are hard to read on their ground."""
        return list(await self.run(CONTRAST))

    async def picture(self) -> bytes:
        """Return a picture of what is seen, as PNG, to be looked at by people."""
        return base64.b64decode((await self.send("Page.captureScreenshot"))["data"])

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if not answer.done():
                    answer.set_result(told)
            elif told["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["source"] != "network":
                self.errors.append(told["params"]["entry"]["text"])
            elif told["method"] == "Tracing.dataCollected":
                self._traced += told["params"]["value"]
            elif told["method"] == "Tracing.tracingComplete":
                self._is_traced.set()
            elif told["method"] == "Network.requestWillBeSent":
                self.requested.append(told["params"]["request"]["url"])


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the browser once for a module, and give the address by which it is driven."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    folder = tmp_path_factory.mktemp("chromium")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([CHROMIUM, *FLAGS, f"--user-data-dir={folder}"], stdout=quiet, stderr=quiet)
    try:
        yield _address(folder / "DevToolsActivePort", process)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _address(told: Path, process: subprocess.Popen[bytes]) -> str:
    ends = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < ends and process.poll() is None:
        lines = told.read_text().splitlines() if told.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError(f"{CHROMIUM} did not start")


@pytest.fixture
async def tab(chromium: str) -> AsyncIterator[Tab]:
    """A new page without any history; scripts that fail and broken policies fail the test."""
    async with aiohttp.ClientSession() as session, session.ws_connect(chromium, max_msg_size=2**26) as socket:
        page = Tab(socket)
        await page.open()
        yield page
        await page.close()
        assert page.errors == []
