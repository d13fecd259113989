"""Looks at the page of a report, index.html, in a real browser: Chromium, which must be installed.

    python scripts/check_page.py FOLDER [FOLDER ...] [--pictures=FOLDER]

Says of each page whether every column sorts, by mouse and by keyboard, whether every picture is decoded and opens at full
size, whether the console is silent and no network is asked for, and whether it fits 1280 and 390 pixels; with --pictures it
leaves screenshots, light, dark and of a phone. The exit code is 1 if something is wrong.
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]  # fmt: skip
# Becomes the browser, which reads commands at 3 and writes answers at 4.
LAUNCH = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
DESKTOP, PHONE = (1280, 800), (390, 844)
# Everything below runs in the page and returns plain values.
WIDTH = "document.documentElement.scrollWidth"
PICTURES = "[...document.images].map(i => [i.complete && i.naturalWidth > 0 && i.alt.length > 0, i.naturalWidth])"
TABLES = "[...document.querySelectorAll('table.sortable')].map(t => t.tHead.rows[0].cells.length)"
COLUMN = """(([t, c]) => {
  const table = document.querySelectorAll('table.sortable')[t], head = table.tHead.rows[0].cells[c];
  return {sort: head.getAttribute('aria-sort'), rows: [...table.tBodies[0].rows].map(r => [
    r.cells[c].dataset.key ?? null, r.cells[c].textContent, r.rowIndex, r.textContent])};
})"""
CLICK = "(([t, c]) => document.querySelectorAll('table.sortable')[t].tHead.rows[0].cells[c].querySelector('button').click())"
FOCUS = "document.querySelector('table.sortable thead button').focus()"
OPEN = "(n => { document.querySelectorAll('button.picture')[n].click(); const d = document.querySelector('dialog');\
 const i = d.querySelector('img'), found = [d.open, i.clientWidth >= i.naturalWidth || i.clientWidth == i.width];\
 d.close(); return found; })"


class Browser:
    """A browser that is spoken to through a pipe, by the DevTools protocol: JSON with a zero byte after each message."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]):
        self.commands, self.answers = commands, answers
        self.sent, self.events = 0, list[dict[str, Any]]()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command; what the browser tells meanwhile is kept in ``events``."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        session = getattr(self, "session", None)
        self.commands.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        self.commands.flush()
        while (answer := self.read()).get("id") != self.sent:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def read(self) -> dict[str, Any]:
        """The next message."""
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser is gone")
            text += byte
        return json.loads(text)

    def open(self, url: str) -> None:
        """Opens a page and waits until all of it is there."""
        self.events.clear()
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())

    def run(self, code: str, *argument: Any) -> Any:
        """The value of JavaScript in the page, of a function at an argument."""
        called = f"{code}({json.dumps(argument[0])})" if argument else code
        answer = self.ask("Runtime.evaluate", expression=called, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str, text: str) -> None:
        """Presses a key."""
        code = {"Enter": 13, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Sets the size of the window and the colours that the reader prefers."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def shoot(self, path: Path) -> None:
        """Writes a screenshot of the whole page."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """What the console has said, and what was asked of a network."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event["method"] == "Log.entryAdded":
                found.append(params["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(str(params["args"]))
            elif event["method"] == "Network.requestWillBeSent" and params["request"]["url"].startswith("http"):
                found.append(f"asked for {params['request']['url']}")
        return found


def installed() -> str | None:
    """The browser that is installed; None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, closed and cleaned up at the end."""
    program = installed()
    if program is None:
        raise SystemExit(f"error: none of {', '.join(BROWSERS)} is installed")
    (read_commands, write_commands), (read_answers, write_answers) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        ours = (read_commands, write_answers)
        command = [sys.executable, "-c", LAUNCH, *map(str, ours), program, *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(command, pass_fds=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_commands)
        os.close(write_answers)
        try:
            with os.fdopen(write_commands, "wb") as commands, os.fdopen(read_answers, "rb") as answers:
                yield Browser(commands, answers)
                with contextlib.suppress(RuntimeError):
                    commands.write(b'{"id": 0, "method": "Browser.close"}\0')
        finally:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def check(page: Browser, path: Path) -> dict[str, str]:
    """What is wrong with a page by what was looked at; an empty text where nothing is."""
    page.look(*DESKTOP)
    page.open(path.resolve().as_uri())
    found = {"sorting": "; ".join(check_sorting(page)), "keyboard": check_keyboard(page)}
    pictures = page.run(PICTURES)
    found[f"{len(pictures)} pictures"] = (
        "" if all(good for good, _ in pictures) else f"not decoded, or without words: {pictures}"
    )
    opened = [page.run(OPEN, i) for i in range(len(pictures))]
    found["full size"] = "" if all(map(all, opened)) else f"a click does not show them: {opened}"
    for size in (DESKTOP, PHONE):
        page.look(*size)
        width = page.run(WIDTH)
        found[f"{size[0]} pixels"] = f"the page is {width} pixels wide" if width > size[0] else ""
    found["console"] = "; ".join(page.complaints())
    return found


def check_sorting(page: Browser) -> Iterator[str]:
    """Sorts every table by every column, and says what is out of order."""
    for table, columns in enumerate(page.run(TABLES)):
        for column in range(columns):
            where = [table, column]
            before = page.run(COLUMN, where)
            for order in ("ascending", "descending", "none"):
                page.run(CLICK, where)
                after = page.run(COLUMN, where)
                if after["sort"] != order:
                    yield f"table {table}, column {column}: aria-sort is {after['sort']}, not {order}"
                keys = [float(key) for key, *_ in after["rows"] if key is not None]
                if order != "none" and keys != sorted(keys, reverse=order == "descending"):
                    yield f"table {table}, column {column}: not {order}: {keys}"
                if sorted(row[3] for row in before["rows"]) != sorted(row[3] for row in after["rows"]):
                    yield f"table {table}, column {column}: rows are lost"
            if [row[3] for row in before["rows"]] != [row[3] for row in after["rows"]]:
                yield f"table {table}, column {column}: the third click does not bring back the first order"


def check_keyboard(page: Browser) -> str:
    """Sorts the first column with Enter and with the space bar."""
    if not page.run(TABLES):
        return ""
    page.run(FOCUS)
    orders = []
    for key, text in (("Enter", "\r"), (" ", " ")):
        page.press(key, text)
        orders.append(page.run(COLUMN, [0, 0])["sort"])
    return "" if orders == ["ascending", "descending"] else f"Enter and the space bar lead to {orders}"


def take_pictures(page: Browser, path: Path, folder: Path, name: str) -> None:
    """Leaves screenshots of a page: light, dark, and of a phone."""
    for kind, size, dark in (("light", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, False)):
        page.look(*size, dark=dark)
        page.open(path.resolve().as_uri())
        page.shoot(folder / f"{name}_{kind}.png")


def main() -> int:
    """Checks the pages of the folders on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    wrong = False
    with browser() as page:
        for folder in arguments.folders:
            print(folder)
            for name, complaint in check(page, folder / "index.html").items():
                print(f"  {name}: {complaint or 'good'}")
                wrong |= bool(complaint)
            if arguments.pictures:
                arguments.pictures.mkdir(parents=True, exist_ok=True)
                take_pictures(page, folder / "index.html", arguments.pictures, folder.resolve().name)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
