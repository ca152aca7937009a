"""What pages of runs cost in a headless Chromium: from a change of state in the store to its pixel, and the first
paint of a run of a thousand steps. It prints the figures:  pytest -m benchmark -s tests/browser"""

from __future__ import annotations

from pathlib import Path
from statistics import median, quantiles

import pytest
from playwright.sync_api import expect

from orchestrator import Client
from tests.browser.conftest import OpenPage
from tests.flowers import Flower

CHANGES = 60
STEPS = 1000
"""In layers of fifty, each step after two of the layer before."""

pytestmark = pytest.mark.benchmark

SEEN = """() => {
    window.seen = [];
    const state = () => {
        for (const node of document.querySelectorAll('.node[data-id]')) {
            const tone = node.className.match(/tone-\\w+/)[0];
            const key = node.dataset.id + tone;
            if (!window.seen.some(one => one.key === key)) window.seen.push({key, at: Date.now() / 1000});
        }
    };
    new MutationObserver(() => requestAnimationFrame(state)).observe(document.querySelector('.dag-nodes'),
        {subtree: true, childList: true, attributes: true});
    state();
}"""


def test_from_a_change_of_state_to_its_pixel(open_page: OpenPage, client: Client, tmp_path: Path) -> None:
    """The store and the browser read the same clock here. The pixel is the frame after the node has its new colour."""
    names = [f"s{number}" for number in range(CHANGES)]
    before = ["gate", *names]
    steps = [{"id": name, "agent": "adder", "needs": [need]} for need, name in zip(before, names, strict=False)]
    gate = {"id": "gate", "agent": "waiter", "with": {"folder": str(tmp_path)}}
    run = client.submit({"name": "chain", "steps": [gate, *steps]})
    page = open_page(f"/workflows/{run.id}")
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate(SEEN)
    (tmp_path / "go").touch()
    expect(page.locator("#state")).to_have_text("success")
    page.wait_for_timeout(500)
    seen = {one["key"]: one["at"] for one in page.evaluate("window.seen")}
    ended = {name: status.finished_at for name, status in run.status().steps.items()}
    waits = sorted(seen[f"{name}tone-good"] - (ended[name] or 0) for name in names if f"{name}tone-good" in seen)
    assert len(waits) == CHANGES
    p95 = quantiles(waits, n=20)[-1]
    print(f"\nfrom a change of state to its pixel: median {median(waits):.3f} s, p95 {p95:.3f} s, n {len(waits)}")


def test_the_first_paint_of_a_thousand_steps(open_page: OpenPage, client: Client, flower: Flower) -> None:
    steps = []
    for number in range(STEPS):
        layer, place = divmod(number, 50)
        needs = [f"s{(layer - 1) * 50 + place}", f"s{(layer - 1) * 50 + (place + 7) % 50}"] if layer else []
        steps.append({"id": f"s{number}", "agent": "adder", "needs": needs, "estimated_duration": 1 + number % 7})
    run = client.submit({"name": "thousand", "steps": steps})
    page = open_page("/workflows")
    paints = []
    for _ in range(5):
        page.goto("about:blank")
        page.goto(f"{flower.url}/workflows/{run.id}", wait_until="commit")
        page.locator(".node").first.wait_for()
        paints.append(page.evaluate("performance.now()") / 1000)
        page.locator("html[data-ready=true]").wait_for(state="attached")
    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator(".gantt-row").first).to_be_visible()
    rows = page.locator(".gantt-row").count()
    print(f"\nfirst paint of {STEPS} steps: median {median(paints):.2f} s, worst {max(paints):.2f} s")
    assert rows < 200
