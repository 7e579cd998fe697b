"""A headless Chromium for tests of the page: the system's own, started anew, without a network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 60_000
"""Milliseconds to wait for what a slow machine does late."""


def executable() -> str:
    """Where the browser is; without one the test is skipped, where CI runs it fails."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        told = f"no browser on PATH (looked for {', '.join(NAMES)})"
        if os.environ.get("CI"):
            pytest.fail(f"{told}: CI installs chromium, see .ci/run")
        pytest.skip(told)
    return found


@contextmanager
def opened(profile: Path) -> Iterator[Any]:
    """A browser with an empty profile of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            str(profile), executable_path=executable(), args=list(ARGUMENTS), headless=True
        )
        context.set_default_timeout(PATIENCE)
        try:
            yield context
        finally:
            context.close()


class Watched:
    """A page, and what it complained about and asked for."""

    def __init__(
        self, context: Any, path: Path, *, scheme: str = "light", width: int = 1280
    ) -> None:
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme, media="screen")
        self.address = path.resolve().as_uri()
        self.page.goto(self.address)
        self.page.wait_for_function("document.documentElement.dataset.drawn === 'all'")

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    @property
    def foreign(self) -> list[str]:
        """Addresses that are neither the page's own nor data in it."""
        return [u for u in self.asked if u != self.address and not u.startswith("data:")]
