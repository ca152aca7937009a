"""The pictures in the README, made anew by  pytest -m benchmark tests/browser/test_picture.py  on a quiet machine: the
product workflow on its timeline, what was planned beneath what happened. Whoever has looked at them moves them from
`build/screenshots` to this folder."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from orchestrator import Client, RunHandle
from orchestrator.fleet.learning import durations
from orchestrator.run.models import RunState
from tests.browser.conftest import PICTURES, SECONDS, OpenPage
from tests.conftest import ROOT, Store
from tests.flowers import Flower
from tests.workers import Worker, eventually

AGENTS = "analyst", "pm", "ux_expert", "architect", "developer", "qa"
RUNS = 15
"""What agents took in five runs is planned, instead of the minutes that were estimated; the first one takes longest."""

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def client(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a worker for all agents of this deployment, as it is configured."""
    settings = {"ORCHESTRATOR_ENGINE_FILE": str(ROOT / "config" / "engine.yaml")}
    directory = tmp_path_factory.mktemp("worker")
    with Worker(module_store.url, directory, environment=settings), Client(module_store.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def flower(client: Client, module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """The Flower of this deployment."""
    with Flower(module_store.url, tmp_path_factory.mktemp("flower")) as running:
        yield running


def product(store_url: str, number: int) -> RunHandle:
    """A run that has succeeded. Another product each time: results of the same one would come from the cache."""
    brief = (ROOT / "config" / "briefs" / "housing_repairs.md").read_text()
    run = Client(store_url).submit("product", {"brief": re.sub("([Tt])enant", rf"\1enant{number}", brief)})
    eventually(lambda: run.status().ended, within=SECONDS, what="the run ends")
    assert run.status().state is RunState.SUCCESS
    return run


def test_the_pictures_of_the_readme(open_page: OpenPage, client: Client, module_store: Store) -> None:
    for number in range(RUNS):
        product(module_store.url, number)

    def known() -> bool:
        found = durations(client.redis)
        return all(agent in found and found[agent].count >= RUNS for agent in AGENTS)

    eventually(known, within=SECONDS, what="the worker tells what its steps took")
    run = product(module_store.url, RUNS)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, scheme in (("run", "light"), ("run-dark", "dark")):
        page = open_page(f"/workflows/{run.id}#view=timeline", width=1040, height=900, scheme=scheme, sharpness=1.5)
        expect(page.locator("#timeline .bar-planned")).to_have_count(6)
        end = page.locator(".legend").evaluate("one => one.getBoundingClientRect().bottom")
        page.screenshot(path=PICTURES / f"{name}.png", clip={"x": 0, "y": 0, "width": 1040, "height": end + 14})
