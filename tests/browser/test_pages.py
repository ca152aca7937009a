"""Workflows in Flower and the page of a plan, in a browser: seen, steered, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from orchestrator import Client, RunHandle
from orchestrator.cli import main
from orchestrator.run.models import RunState
from orchestrator.units import parse_duration
from tests.browser.conftest import SECONDS, OpenPage, picture
from tests.flowers import USER, Flower
from tests.workers import eventually

ONCE = {"maximum_attempts": 1}
HOSTILE = '</script><img src=x onerror="document.title=`stolen`">'


def shop(folder: Path) -> dict[str, Any]:
    """A step, a group of two that wait for the file `go`, a step behind their barrier that has a conflict of words."""
    waits = {"agent": "waiter", "with": {"folder": str(folder)}, "retry": ONCE, "estimated_duration": 20}
    return {
        "name": "shop",
        "description": HOSTILE,
        "steps": [
            {"id": "first", "agent": "flaky", "retry": {"initial_interval": 0.1}, "estimated_duration": 5},
            {"id": "last", "agent": "adder", "needs": ["cart", "till"], "wants": ["first"], "estimated_duration": 5},
        ],
        "execution_groups": {
            "build": {
                "agents": [{"id": "cart", **waits}, {"id": "till", **waits, "estimated_duration": 10}],
                "parallel_capable": True,
                "dependencies": ["first"],
                "synchronization_strategy": {"type": "smart_barrier", "timeout": "5m"},
            }
        },
    }


def started(client: Client, folder: Path, *names: str) -> RunHandle:
    """A run of `shop` whose members have begun."""
    run = client.submit(shop(folder), {"note": HOSTILE, "password": "hidden"})
    begun(folder, *(names or ("cart", "till")))
    return run


def ended(run: RunHandle) -> RunState:
    """The state in which it ends. The browser's driver has a loop in this thread, so nothing may block here."""
    eventually(lambda: run.status().ended, within=SECONDS, what="the run ends")
    return run.status().state


def begun(folder: Path, *names: str) -> None:
    eventually(lambda: all((folder / f"begun-{name}").exists() for name in names), within=SECONDS, what="all begin")


@pytest.fixture(scope="module")
def done(client: Client, tmp_path_factory: pytest.TempPathFactory) -> RunHandle:
    """A run that has succeeded, its first step after a second attempt."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "go").touch()
    run = client.submit(shop(folder), {"note": HOSTILE, "password": "hidden"})
    assert ended(run) is RunState.SUCCESS
    return run


def say(folder: Path, step: str, words: str) -> None:
    """Let a step that waits log something."""
    (folder / "words").write_text(words)
    (folder / "words").rename(folder / f"say-{step}")


def asked_for_within_a_minute(page: Page) -> list[str]:
    """What a page whose clock is installed sends while its timers run for a minute and nothing happens."""
    sent: list[str] = []
    sentinel = "() => fetch(document.getElementById('workflows').dataset.api + '/definitions').then(() => 1)"
    page.clock.run_for(5_000)  # whatever is still to be done from before
    page.evaluate(sentinel)
    page.on("request", lambda request: sent.append(request.url))
    page.clock.run_for(60_000)
    page.evaluate(sentinel)
    assert sent.pop().endswith("/definitions")
    return sent


def node(page: Page, step: str) -> Locator:
    return page.locator(f'.node[data-id="{step}"]')


BARS = """() => {
    const box = element => element.getBoundingClientRect();
    const ticks = [...document.querySelectorAll('.gantt-tick')].filter(one => one.innerText);
    return {
        ticks: ticks.map(one => [one.innerText, box(one).left]),
        now: [...document.querySelectorAll('.gantt-grid .gantt-now')].map(one => box(one).left),
        bars: [...document.querySelectorAll('.gantt-row .bar')].map(one => [
            one.closest('.gantt-row').querySelector('.gantt-label').innerText.trim(),
            one.className.match(/bar-(\\w+)/)[1], box(one).left, box(one).right])};
}"""


class Timeline:
    """The bars of a page's timeline, all of one moment, in seconds as its axis tells them."""

    def __init__(self, page: Page) -> None:
        seen = page.evaluate(BARS)
        (_, left), *_, (text, right) = seen["ticks"]
        self._left = float(left)
        self._second = (float(right) - self._left) / parse_duration(text)
        self.now = [self._seconds(at) for at in seen["now"]]
        self._bars = [(row, kind, self._seconds(a), self._seconds(b)) for row, kind, a, b in seen["bars"]]
        self.pixels = 2 / self._second
        """What two pixels are: bars are not narrower, and are rounded to one."""

    def _seconds(self, at: float) -> float:
        return (at - self._left) / self._second

    def bars(self, row: str, kind: str) -> list[tuple[float, float]]:
        """From when to when they are."""
        return [(begin, end) for name, what, begin, end in self._bars if (name, what) == (row, kind)]

    def same(self, *times: float) -> Any:
        return pytest.approx(times, abs=self.pixels)


def planned_and_actual(page: Page, view: dict[str, Any]) -> None:
    """Every planned bar and every attempt of a run is where the run's document says."""
    shown, origin = Timeline(page), view["created_at"]
    begun = view["started_at"] - origin
    for step in view["steps"]:
        planned = step["planned"]
        expected = shown.same(begun + planned["start_seconds"], begun + planned["finish_seconds"])
        assert shown.bars(step["id"], "planned") == [expected], step["id"]
        attempts = [one for one in step["attempts"] if one["started_at"]]
        ends = [one["ended_at"] - origin if one["ended_at"] else shown.now[0] for one in attempts]
        actual = [shown.same(one["started_at"] - origin, end) for one, end in zip(attempts, ends, strict=True)]
        assert shown.bars(step["id"], "run") == actual, step["id"]


def state(page: Page) -> Locator:
    return page.locator("#state")


def test_a_run_is_started_and_watched_to_its_end_without_a_reload(
    open_page: OpenPage, client: Client, tmp_path: Path
) -> None:
    page = open_page("/workflows")
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate("window.kept = true")
    page.clock.install()
    run = started(client, tmp_path)
    row = page.locator(f'tr[data-run="{run.id}"]')
    expect(row).to_contain_text(re.compile(r"running.*20%"))
    (tmp_path / "go-till").touch()
    expect(row).to_contain_text(re.compile(r"running.*40%"))
    assert row.locator("progress").evaluate("one => one.value") == 0.4
    assert page.evaluate("window.kept"), "the list was not loaded anew"
    row.get_by_role("link", name="shop").click()
    expect(page.locator("#link")).to_have_text("live")
    page.evaluate("window.kept = true")
    expect(node(page, "first")).to_have_accessible_name(re.compile("^first flaky .*: success, on the critical path"))
    expect(node(page, "cart")).to_have_accessible_name(re.compile("^cart .*: running"))
    node(page, "@build").click()
    expect(page.locator("#details")).to_contain_text(re.compile(r"4m\d+s left"))
    node(page, "cart").click()
    log = page.locator("#details .log")
    expect(log).to_contain_text("attempt 1 begins")
    say(tmp_path, "cart", HOSTILE)
    expect(log).to_contain_text(HOSTILE)
    picture(page, "a run goes on")
    assert asked_for_within_a_minute(page) == [], "nothing happens, nothing is asked for"
    (tmp_path / "go").touch()
    expect(state(page)).to_have_text("success")
    expect(node(page, "last")).to_have_accessible_name(re.compile("^last .*: success"))
    expect(page.locator("#details .panel-state")).to_contain_text("success")
    expect(log.get_by_text("attempt 1 begins")).to_have_count(1)
    expect(page.locator("#facts")).to_contain_text("4 of 4 steps")
    page.get_by_role("tab", name="Timeline").click()
    bars = page.locator(".gantt-row", has=page.get_by_role("button", name=re.compile("^first:"))).locator(".bar-run")
    expect(bars).to_have_count(2)
    assert page.evaluate("window.kept"), "the page was not loaded anew"


def test_a_run_is_paused_resumed_and_cancelled_after_a_question(
    open_page: OpenPage, client: Client, tmp_path: Path
) -> None:
    run = started(client, tmp_path)
    page = open_page(f"/workflows/{run.id}")
    page.get_by_role("button", name="Pause").click()
    expect(state(page)).to_have_text("paused")
    assert run.status().state is RunState.PAUSED
    page.get_by_role("button", name="Resume").click()
    expect(state(page)).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="No, go back").click()
    assert run.status().state is RunState.RUNNING
    page.get_by_role("button", name="Cancel").click()
    picture(page, "a question before a run is cancelled")
    page.get_by_role("button", name="Cancel the run").click()
    expect(state(page)).to_have_text("cancelled")
    assert ended(run) is RunState.CANCELLED


def test_one_failed_step_is_retried_and_the_others_are_left(
    open_page: OpenPage, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    (tmp_path / "fail-till").touch()
    run = client.submit(shop(tmp_path))
    assert ended(run) is not RunState.SUCCESS
    before = {step: status.attempts for step, status in run.status().steps.items()}
    page = open_page(f"/workflows/{run.id}#step=till")
    expect(page.locator("#details .error")).to_have_text("ValueError: the test lets it fail")
    (tmp_path / "fail-till").unlink()
    page.get_by_role("button", name="Retry this step").click()
    expect(state(page)).to_have_text("success")
    expect(node(page, "till")).to_have_accessible_name(re.compile("^till .*: success"))
    after = {step: status.attempts for step, status in run.status().steps.items()}
    assert after == before | {"till": before["till"] + 1, "last": before["last"] + 1}


def test_a_conflict_is_decided_and_the_run_goes_on(open_page: OpenPage, client: Client) -> None:
    run = client.submit(
        {
            "name": "words",
            "steps": [{"id": "after", "agent": "adder", "needs": ["one", "two"]}],
            "execution_groups": {
                "g": {
                    "agents": [
                        {"id": "one", "agent": "deputy", "with": {"value": "x"}},
                        {"id": "two", "agent": "deputy", "with": {"value": HOSTILE}},
                    ],
                    "parallel_capable": True,
                }
            },
        }
    )
    page = open_page(f"/workflows/{run.id}")
    expect(state(page)).to_have_text("awaiting input")
    conflict = page.locator("#conflicts .conflict")
    expect(conflict).to_contain_text("board.title")
    expect(conflict).to_contain_text(HOSTILE)
    page.get_by_role("textbox", name="Another value").fill("no json")
    page.get_by_role("button", name="Take this value").click()
    assert run.status().state is RunState.AWAITING_INPUT
    picture(page, "a conflict waits for somebody")
    conflict.locator("[data-choice=theirs]").click()
    expect(state(page)).to_have_text("success")
    (decided,) = run.conflicts()
    assert (decided.state, decided.by_hand) == ("resolved", True)
    page.get_by_role("button", name="Show difference").click()
    expect(page.locator(".difference table")).to_be_visible()


def test_what_was_planned_what_a_run_has_waited_for_and_what_its_barrier_has_decided(
    open_page: OpenPage, client: Client, flower: Flower, tmp_path: Path
) -> None:
    folder = {"folder": str(tmp_path)}
    waits = {"agent": "waiter", "retry": ONCE, "estimated_duration": 0.1}
    keeps = {"agent": "adder", "with": {"files": {"plans/cart.html": HOSTILE}}, "estimated_duration": 0.5}
    (tmp_path / "fail-moving").touch()
    run = client.submit(
        {
            "name": "decided",
            "steps": [
                {"id": "hold", **waits, "with": folder, "locks": {"board": "write"}},
                {"id": "first", "agent": "adder", "estimated_duration": 0.5},
                {"id": "last", "agent": "adder", "needs": ["locked", "moving"], "estimated_duration": 0.2},
            ],
            "execution_groups": {
                "g": {
                    "agents": [
                        {"id": "locked", **keeps, "locks": {"board": "write"}},
                        {"id": "moving", **waits, "with": folder | {"moves": True}, "defaults": {"attempt": 0}},
                    ],
                    "parallel_capable": True,
                    "dependencies": ["first"],
                    "barrier": {"timeout": "1s", "extension": "5m", "max_extensions": 1},
                }
            },
        }
    )
    page = open_page(f"/workflows/{run.id}#step=%40g")
    details = page.locator("#details")
    expect(details).to_contain_text("extended once")
    expect(details.get_by_role("table", name="Decisions")).to_contain_text("by 5m. moving made progress")
    lock = page.locator("#locks tbody tr").first
    expect(lock).to_have_text(re.compile("board.*hold .write, declared..*locked .write"))
    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator("#timeline .bar-planned")).to_have_count(5)
    planned_and_actual(page, flower.get(f"/{run.id}").json)
    picture(page, "planned against actual while it runs")
    page.get_by_role("tab", name="Graph").click()
    (tmp_path / "go").touch()
    expect(state(page)).to_have_text("partial")
    expect(details.get_by_role("table", name="Decisions")).to_contain_text("continue with partial")
    expect(details).to_contain_text(re.compile("Defaults for.*moving"))
    expect(page.locator("#quality")).to_contain_text("medium")
    expect(page.locator("#facts")).to_contain_text(re.compile("Quality impact.*medium"))
    marked = page.locator(".node-step.critical").evaluate_all("all => all.map(one => one.dataset.id).sort()")
    assert marked in (["first", "last", "locked"], ["first", "last", "moving"]), "what agents took is learned"
    assert page.locator("path.edge-critical").get_attribute("d")
    with page.expect_download() as kept:
        page.get_by_role("link", name="plans/cart.html").click()
    assert (kept.value.suggested_filename, kept.value.path().read_text()) == ("cart.html", HOSTILE)
    page.get_by_role("tab", name="Timeline").click()
    planned_and_actual(page, flower.get(f"/{run.id}").json)
    rows = page.locator(".gantt-row")
    locked = rows.filter(has=page.get_by_role("button", name=re.compile("^locked:")))
    assert [locked.locator(f".bar-{kind}").count() for kind in ("hold", "run")] == [1, 1]
    extended = rows.filter(has=page.get_by_role("button", name="barrier of g:")).locator(".tick-extended")
    expect(extended).to_have_attribute("title", "extended: moving made progress")
    expect(page.get_by_role("button", name=re.compile("^first:.*on the critical path"))).to_be_visible()
    locked.get_by_role("button").click()
    expect(details).to_contain_text(re.compile("Held.*by locks, limits or a pause"))
    expect(details).to_contain_text(re.compile(r"Ran.*planned \d"))


def test_a_plan_out_of_all_proportion_is_shown_when_it_is_asked_for(open_page: OpenPage, client: Client) -> None:
    run = client.submit({"name": "quick", "steps": [{"id": "one", "agent": "planner", "estimated_duration": 600}]})
    assert ended(run) is RunState.SUCCESS
    page = open_page(f"/workflows/{run.id}#view=timeline")
    expect(page.locator(".gantt-note")).to_have_text(re.compile(r"^[\d.]+m?s(, planned 10m)?$"))  # where there is room
    expect(page.locator("#timeline .bar-planned")).to_have_count(0)
    page.get_by_role("button", name="plan: show all of the plan").click()
    shown = Timeline(page)
    assert shown.bars("one", "planned") == [shown.same(0, 600)]
    page.get_by_role("button", name="fit: show all that has happened").click()
    expect(page.locator("#timeline .bar-planned")).to_have_count(0)


def test_nothing_without_credentials_and_no_change_without_a_token(
    flower: Flower, client: Client, done: RunHandle, tmp_path: Path
) -> None:
    run = started(client, tmp_path)
    api = f"/workflows/-/{run.id}"
    reads = ["/workflows", f"/workflows/{run.id}", f"/workflows/compare?a={run.id}&b={done.id}", "/workflows/-",
             "/workflows/static/run.bundle.js", "/workflows/static/chart.css", api, f"{api}/events",
             f"{api}/steps/cart/log", f"{api}/steps/cart/output", f"{api}/steps/cart/artifact?name=a",
             f"{api}/inputs", f"{api}/versions", f"{api}/diff?a=0&b=1", "/workflows/-/events"]  # fmt: skip
    assert {path: flower.ask(path, authorization=None).status for path in reads} == dict.fromkeys(reads, 401)
    actions: dict[str, Any] = {
        "cancel": {}, "pause": {}, "resume": {}, "retry": {"failed": True}, "conflicts/a/resolve": {"choice": "ours"},
    }  # fmt: skip
    for action, body in actions.items():
        assert flower.ask(f"{api}/{action}", method="POST", body=body, authorization=None).status == 401, action
        forged = {"Cookie": "_xsrf=1234", "Origin": "http://elsewhere.example"}
        refused = flower.ask(f"{api}/{action}", method="POST", body=body, authorization=USER, headers=forged)
        assert refused.status == 403, action
    assert run.status().state is RunState.RUNNING
    policy = flower.ask(f"/workflows/{run.id}", authorization=USER).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    run.cancel()


def test_what_runs_say_stays_text_and_secrets_stay_hidden(open_page: OpenPage, done: RunHandle) -> None:
    page = open_page(f"/workflows/{done.id}#step=first")
    expect(page.locator("#inputs")).to_contain_text(HOSTILE)
    expect(page.locator("#details")).to_contain_text("***")
    expect(page).to_have_title(re.compile("success · shop"))
    assert page.locator("#workflows img").count() == 0
    assert "hidden" not in page.locator("#workflows").inner_text()


def test_filters_stay_in_the_address_and_two_runs_are_compared(
    open_page: OpenPage, client: Client, done: RunHandle
) -> None:
    cached = {"name": "other", "steps": [{"id": "first", "agent": "adder", "cache": True}]}
    assert ended(client.submit(cached)) is RunState.SUCCESS
    other = client.submit(cached)
    assert ended(other) is RunState.SUCCESS
    page = open_page(f"/workflows/{other.id}")
    expect(page.locator("#facts")).to_contain_text(re.compile("1 of 1 steps *1 from the cache"))
    expect(node(page, "first")).to_contain_text("cached")
    page = open_page("/workflows?state=success&search=sho")
    rows = page.locator("#rows tr")
    expect(rows.first).to_contain_text("shop")
    expect(page.get_by_role("button", name="success")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("searchbox").fill("")
    expect(page.locator(f'tr[data-run="{other.id}"]')).to_be_visible()
    page.get_by_role("button", name="success").click()
    page.get_by_role("button", name="cancelling").click()
    expect(page.locator("#none")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?state=cancelling$"))
    page.go_back()
    for run in (done, other):
        page.locator(f'tr[data-run="{run.id}"] input').check()
    page.get_by_role("button", name="Compare the two").click()
    expect(page.locator("#verdict")).to_have_text(re.compile("^B took .* (more|less) than A"))
    expect(page.locator("#rows tr", has_text="cart")).to_contain_text("not in B")


def test_the_keyboard_alone_is_enough(open_page: OpenPage, client: Client, tmp_path: Path) -> None:
    run = started(client, tmp_path)
    page = open_page(f"/workflows?search={run.id}")
    expect(page.locator("#rows a")).to_have_count(1)
    page.locator("#search").focus()
    _tab_to(page, "a.run-link")
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_text("live")
    _tab_to(page, "#tab-graph")
    _tab_to(page, ".node")
    expect(node(page, "first")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.id") in ("cart", "till")
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_be_visible()
    page.locator("#tab-graph").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#timeline")).to_be_visible()
    _tab_to(page, ".gantt-label")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.className").startswith("gantt-label")
    page.locator('[data-action="cancel"]').focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    _tab_to(page, "dialog button[value=yes]")
    page.keyboard.press("Enter")
    expect(state(page)).to_have_text("cancelled")


def _tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the Tab key does not lead to {selector}")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of a plan."""
    folder = tmp_path_factory.mktemp("plan")
    file = folder / "shop.yaml"
    file.write_text(json.dumps(shop(folder)))  # JSON is YAML
    assert main(["plan", str(file), "--html", str(folder / "plan.html")]) == 0
    return (folder / "plan.html").as_uri()


def pages(flower: Flower, done: RunHandle, plan: str) -> list[str]:
    """Every kind of page and view."""
    run = f"/workflows/{done.id}"
    ours = ["/workflows", f"{run}#step=first", f"{run}#view=timeline&step=%40build", f"{run}#view=steps",
            f"/workflows/compare?a={done.id}&b={done.id}"]  # fmt: skip
    return [*(flower.url + path for path in ours), plan]


def visit(page: Page, address: str) -> None:
    """Go there and wait until everything is drawn."""
    page.goto("about:blank")
    page.goto(address)
    if address.startswith("file:"):
        expect(page.locator(".node").first).to_be_visible()
    else:
        expect(page.locator("html[data-ready=true]")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    open_page: OpenPage, flower: Flower, done: RunHandle, plan: str, axe: str, scheme: str
) -> None:
    page = open_page("/workflows", scheme=scheme)
    # The same elements in other colours.
    rules = {} if scheme == "light" else {"runOnly": ["color-contrast"]}
    for number, address in enumerate(pages(flower, done, plan)):
        visit(page, address)
        if scheme == "dark":
            picture(page, f"in the dark {number}")
        page.evaluate(axe)
        found = page.evaluate("more => axe.run('.orc', {resultTypes: ['violations'], ...more})", rules)
        assert found["passes"], "axe has looked"
        serious = [
            (one["id"], [place["html"][:120] + " " + place["failureSummary"] for place in one["nodes"]][:3])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], address
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 64) == (scheme == "dark"), address


def test_nothing_is_cut_off_on_a_phone(open_page: OpenPage, flower: Flower, done: RunHandle, plan: str) -> None:
    page = open_page("/workflows", width=360, height=740)
    for number, address in enumerate(pages(flower, done, plan)):
        visit(page, address)
        picture(page, f"on a phone {number}")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 360, address
        buttons = page.locator("#workflows .head .act, [role=tab], .zoom button")
        ends = buttons.evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
        assert max(ends, default=0) <= 360, address


def test_the_page_of_a_plan_shows_its_schedules_and_runs_nothing_else(open_page: OpenPage, plan: str) -> None:
    page = open_page(plan)
    expect(page.locator(".about")).to_have_text(HOSTILE)
    expect(page).to_have_title("Plan of shop")
    expect(page.locator(".node")).to_have_count(5)
    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator("#makespan")).to_have_text("30s")
    page.get_by_label("Workers").select_option("1")
    expect(page.locator("#makespan")).to_have_text("40s")
    expect(page.locator(".gantt-row .bar-wait")).to_have_count(1)
    page.locator(".gantt-label", has_text="till").click()
    expect(page.locator("#step-till")).to_have_class(re.compile("picked"))
    picture(page, "the plan with one worker")


def test_the_policy_of_a_plan_refuses_scripts_that_were_not_in_it(browser: Browser, plan: str, tmp_path: Path) -> None:
    text = Path(url2pathname(urlsplit(plan).path)).read_text()
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace("</main>", "</main><script>document.title = 'stolen'</script>"))
    with browser.new_page() as page:
        page.goto(changed.as_uri())
        expect(page.locator(".node")).to_have_count(5)
        expect(page).to_have_title("Plan of shop")
