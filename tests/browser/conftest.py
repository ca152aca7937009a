"""A headless Chromium in front of the stock Flower, a worker behind it: all tests of a module share the three.

Every test keeps a picture of each page that it has left in `build/screenshots`; CI keeps that folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from orchestrator import Client
from tests.conftest import ROOT, Store
from tests.flowers import Flower
from tests.workers import Worker

APP = "tests.engine.flower_app"
SECONDS = 60
PICTURES = ROOT / "build" / "screenshots"
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module; its driver keeps an event loop running in this thread, which others must not find."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no Chromium: .ci/run installs it")
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker with the agents of `flower_app`."""
    directory = tmp_path_factory.mktemp("browser-worker")
    with Worker(module_store.url, directory, app=APP), Client(module_store.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def flower(
    browser: Browser, module_store: Store, client: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    """A Flower with credentials below a prefix."""
    with Flower(module_store.url, tmp_path_factory.mktemp("flower"), app=APP, url_prefix="ops/flower") as running:
        yield running


@pytest.fixture
def open_page(browser: Browser, flower: Flower, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Opens a page of this Flower as user:password. Fails the test for any error in a page, and for every request that
    leaves this machine or Flower's prefix."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"{message.text} ({message.location['url']})")

    def asked(sent: Request) -> None:
        if not sent.url.startswith((flower.url, "file:", "data:", "about:")):
            wrong.append(sent.url)

    def open_one(
        path: str, *, width: int = 1280, height: int = 860, scheme: str = "light", sharpness: float = 1
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            http_credentials={"username": "user", "password": "password"},
            reduced_motion="reduce",
            device_scale_factor=sharpness,
        )
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", asked)
        page.on("dialog", lambda dialog: wrong.append(f"a dialog says {dialog.message}"))
        page.goto(path if "://" in path else flower.url + path)
        return page

    yield open_one
    for number, context in enumerate(contexts):
        for page in context.pages:
            picture(page, request.node.name, number)
        context.close()
    assert wrong == []


def picture(page: Page, name: str, number: int = 0) -> None:
    """Keep what the page looks like."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("test-")
    page.screenshot(path=PICTURES / f"{name}{f'-{number}' if number else ''}.png", full_page=True)


@pytest.fixture
def axe() -> str:
    """axe-core, from npm, unchanged but for its source map."""
    return (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text()
