"""Workflows in the stock Flower, over HTTP: pages, the API, events, and what they refuse."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from tornado.web import create_signed_value

from orchestrator import Client, RunHandle
from orchestrator.flower.service import THREADS
from orchestrator.keys import NEWS, RUNS
from orchestrator.run import dead_letters
from orchestrator.run.dead_letters import DeadMessage
from orchestrator.run.models import RunState
from tests.conftest import Store
from tests.flowers import TOKEN, USER, Flower
from tests.workers import Worker, eventually, idle

SECONDS = 40
APP = "tests.engine.flower_app"
ONCE = {"maximum_attempts": 1}


@pytest.fixture(scope="module")
def flower(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """A Flower that asks for credentials. It starts beside the others."""
    yield from _started(Flower(module_store.url, tmp_path_factory.mktemp("flower"), app=APP))


@pytest.fixture(scope="module")
def bare(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """A Flower without credentials, below a prefix, that changes nothing."""
    directory = tmp_path_factory.mktemp("bare")
    yield from _started(
        Flower(module_store.url, directory, app=APP, credentials=False, url_prefix="ops", read_only="true")
    )


def _started(flower: Flower) -> Iterator[Flower]:
    flower.launch()
    try:
        yield flower
    finally:
        flower.end()


@pytest.fixture(scope="module")
def client(
    module_store: Store, flower: Flower, bare: Flower, guarded: Flower, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of a worker with four slots for the agents of `flower_app`, when the Flowers are there as well."""
    directory = tmp_path_factory.mktemp("flower-worker")
    with Worker(module_store.url, directory, app=APP), Client(module_store.url) as connected:
        for one in (flower, bare, guarded):
            one.wait()
        yield connected


@pytest.fixture(scope="module")
def done(client: Client) -> RunHandle:
    """A run that has ended: a step that failed once, a group behind it, and a step that waits for the group."""
    document = {
        "name": "shown",
        "steps": [
            {"id": "first", "agent": "flaky", "retry": {"initial_interval": 0.1}, "estimated_duration": 30},
            {"id": "last", "agent": "adder", "needs": ["one", "two"], "wants": ["first"], "estimated_duration": 5},
        ],
        "execution_groups": {
            "g": {
                "agents": [{"id": "one", "agent": "adder", "estimated_duration": 10},
                           {"id": "two", "agent": "adder", "estimated_duration": 20}],
                "parallel_capable": True, "dependencies": ["first"],
            }
        },
    }  # fmt: skip
    plain = {"password": "hidden", "nickname": "hidden", "left": 1}
    run = client.submit(document, {"plain": plain, "api_key": "hidden"})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    return run


def waiting(client: Client, folder: Path, *names: str, **more: Any) -> RunHandle:
    """A run whose steps have begun, and wait for the file `go` in the folder."""
    steps = [{"id": name, "agent": "waiter", "with": {"folder": str(folder)}, "retry": ONCE} for name in names]
    run = client.submit({"name": "waiting", "steps": steps, **more})
    eventually(lambda: all((folder / f"begun-{name}").exists() for name in names), within=SECONDS, what="all begin")
    return run


def test_every_page_has_the_tab_and_asks_for_credentials(flower: Flower, done: RunHandle) -> None:
    pages = ["/", "/workers", "/tasks", "/broker", "/workflows", f"/workflows/{done.id}",
             f"/workflows/compare?a={done.id}&b={done.id}"]  # fmt: skip
    for page in pages:
        answer = flower.ask(page, authorization=USER)
        assert answer.status == 200, page
        bar = answer.text[answer.text.index("<nav") : answer.text.index("</nav>")]
        assert bar.count('href="/workflows"') == 1, f"one tab on {page}"
        assert flower.ask(page, authorization=None).status == 401, page
    missing = flower.ask("/workflows/nosuch", authorization=USER)
    assert (missing.status, "no run has the id" in missing.text, missing.text.count("<nav")) == (404, True, 1)
    for data in ("/api/workflows", f"/api/workflows/{done.id}", f"/api/workflows/{done.id}/events", "/workflows/-",
                 "/api/workflows/openapi.json"):  # fmt: skip
        assert flower.ask(data, authorization=None).status == 401, data


def test_the_document_of_a_run_has_all_that_a_page_shows(flower: Flower, client: Client, done: RunHandle) -> None:
    view = flower.get(f"/{done.id}", authorization=USER).json
    assert (view["state"], view["ended"], view["progress"], view["actions"]) == ("success", True, 1.0, ["retry"])
    assert [step["id"] for step in view["steps"]] == ["first", "last", "one", "two"]
    steps = {step["id"]: step for step in view["steps"]}
    failed, succeeded = steps["first"]["attempts"]
    assert (failed["attempt"], failed["state"], failed["error"]) == (1, "failed", "ValueError: not yet")
    assert (succeeded["attempt"], succeeded["state"], succeeded["error"]) == (2, "success", None)
    times = [failed["queued_at"], failed["started_at"], failed["ended_at"], succeeded["queued_at"],
             succeeded["started_at"], succeeded["ended_at"]]  # fmt: skip
    assert times == sorted(times)
    assert view["created_at"] <= times[0]
    assert view["finished_at"] <= view["now"]
    assert {one["worker"] for step in view["steps"] for one in step["attempts"]} == {"w1@test"}
    assert steps["one"]["task_id"] == f"{done.id}.one"
    assert steps["two"]["planned"] == {
        "start_seconds": 30, "finish_seconds": 50, "duration_seconds": 20, "slack_seconds": 0, "on_critical_path": True,
    }  # fmt: skip
    assert steps["one"]["planned"]["slack_seconds"] == 10
    assert (view["critical_path"], view["plan_seconds"]) == (["first", "two", "last"], 55)
    assert {(edge["source"], edge["target"], edge["kind"]) for edge in view["edges"]} == {
        ("first", "one", "needs"), ("first", "two", "needs"), ("one", "@g", "member"), ("two", "@g", "member"),
        ("@g", "last", "barrier"), ("first", "last", "wants"),
    }  # fmt: skip
    (group,) = view["groups"]
    assert (group["node"], group["state"], group["members"]) == ("@g", "success", ["one", "two"])
    assert [decision["action"] for decision in group["decisions"]] == ["release"]
    assert view["inputs"]["plain"]["value"] == {"password": "***", "nickname": "***", "left": 1}
    assert view["inputs"]["api_key"]["value"] == "***"
    assert steps["first"]["output"]["value"] == {"attempt": 2, "client_secret": "***"}
    assert [version["author"] for version in view["versions"]] == ["last", "@g", "first"]
    assert view["cursor"] == list(done.events(follow=False))[-1].id
    bare_bones = flower.get(f"/{done.id}?values=false").json
    assert (bare_bones["inputs"], bare_bones["steps"][0]["output"]) == ({}, None)


def test_runs_are_listed_by_filters_and_pages(flower: Flower, client: Client, done: RunHandle) -> None:
    for number in range(5):
        client.submit({"name": f"listed{number % 2}", "steps": [{"id": "a", "agent": "adder"}]}).wait(SECONDS)

    def listed(query: str) -> list[str]:
        return [run["workflow"] for run in flower.get(f"?{query}").json["runs"]]

    assert listed("search=LISTED") == ["listed0", "listed1", "listed0", "listed1", "listed0"]
    assert listed("workflow=listed1&state=success&state=failed") == ["listed1", "listed1"]
    assert listed("workflow=listed1&state=failed") == []
    assert listed(f"search={done.id[3:]}") == ["shown"]
    runs, query = [], "search=listed&limit=2"
    while query:
        page = flower.get(f"?{query}").json
        runs += page["runs"]
        query = page["next_cursor"] and f"search=listed&limit=2&cursor={page['next_cursor']}"
    assert [run["workflow"] for run in runs] == listed("search=listed")
    newest = runs[0]["created_at"]
    assert len(listed(f"created_after={newest - 0.001}&search=listed")) == 1
    assert len(listed(f"created_before={newest - 0.001}&search=listed")) == 4


BAD = [
    ("POST", "", b"{", {}, 400),
    ("POST", "", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("POST", "", b'{"workflow": "shown", "workflow": "shown"}', {}, 400),
    ("POST", "", b'{"workflow": "shown", "inputs": {"a": NaN}}', {}, 400),
    ("POST", "", b'{"workflow": "shown", "callback": "http://169.254.169.254/"}', {}, 422),
    ("POST", "", b'{"workflow": "../config/workflows/drills.yaml"}', {}, 422),
    ("POST", "", b'{"workflow": "nosuch"}', {}, 404),
    ("POST", "", b'{"workflow": {"name": "a", "steps": [{"id": "a", "agent": "nobody"}]}}', {}, 422),
    ("POST", "", b'{"workflow": {"name": "a", "steps": []}}', {"Idempotency-Key": "a b"}, 400),
    ("POST", "", b" " * 16_000_001, {}, 413),
    ("POST", "/nosuch/cancel", b"{}", {}, 404),
    ("POST", "/nosuch/pause", b"{}", {}, 404),
    ("POST", "/nosuch/resume", b"{}", {}, 404),
    ("POST", "/nosuch/retry", b'{"failed": true}', {}, 404),
    ("POST", "/nosuch/conflicts/a/resolve", b'{"choice": "ours"}', {}, 404),
    ("POST", "/nosuch/cancel", b'{"reason": 5}', {}, 422),
    ("GET", "/nosuch", None, {}, 404),
    ("GET", "/nosuch/events", None, {}, 404),
    ("GET", "/../../x", None, {}, 404),
    ("GET", "/*", None, {}, 404),
    ("GET", "/%00", None, {}, 404),
    ("GET", "/" + "x" * 10_000, None, {}, 404),
    ("GET", "?limit=1000000000", None, {}, 422),
    ("GET", "?limit=-1", None, {}, 422),
    ("GET", "?cursor=garbage", None, {}, 422),
    ("GET", "?created_after=nan", None, {}, 422),
    ("GET", "?token=" + TOKEN, None, {}, 422),
    ("GET", "/{run}/events", None, {"Last-Event-ID": "garbage"}, 400),
    ("GET", "/events", None, {"Last-Event-ID": "garbage"}, 400),
    ("GET", "/events?run=../x", None, {}, 422),
    ("GET", "/events?" + "&".join(["run=a"] * 201), None, {}, 422),
    ("GET", "/{run}/steps/frist/log", None, {}, 404),
    ("GET", "/{run}/diff?a=1", None, {}, 422),
    ("GET", "/{run}/diff?a=1&b=nosuch", None, {}, 404),
    ("GET", "/{run}/versions/99", None, {}, 404),
    ("GET", "/{run}/versions/99999999999999999999", None, {}, 404),
    ("POST", "/{run}/cancel", b"{}", {}, 409),
    ("POST", "/{run}/pause", b"{}", {}, 409),
    ("POST", "/{run}/retry", b'{"failed": true}', {}, 409),
    ("POST", "/{run}/retry", b'{"step": "frist"}', {}, 404),
    ("POST", "/{run}", b"{}", {}, 405),
    ("DELETE", "/{run}", None, {}, 405),
    ("POST", "/dead-letters/messages/1-1/drop", b"{}", {}, 404),
    ("POST", "/dead-letters/steps/{run}/first/drop", b"{}", {}, 404),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    BAD,
    ids=[f"{row[0]} {row[1][:40]} {str(row[2])[:50]}" for row in BAD],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    flower: Flower, client: Client, done: RunHandle, method: str, path: str, body: bytes | None,
    headers: dict[str, str], status: int,
) -> None:  # fmt: skip
    before = written(client)
    address = f"/api/workflows{path.replace('{run}', done.id)}"
    answer = flower.ask(address, method=method, body=body, headers=headers)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json
    assert told["status"] == status
    assert told["title"]
    assert told["instance"] == address.partition("?")[0]
    assert told.get("detail") or told.get("errors") or status == 405
    assert written(client) == before


def written(client: Client) -> tuple[Any, ...]:
    """What there is of runs: how many, which have keys (a log may come late), and under which keys they were asked."""
    runs = {name.partition(b"}")[0] for name in client.redis.scan_iter("orc:{*", count=1000)}
    return client.redis.zcard(RUNS), runs, {*client.redis.scan_iter("orc:idempotency:*", count=1000)}


@pytest.mark.usefixtures("client")
def test_an_endless_body_is_refused_without_being_kept(flower: Flower) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", flower.port, timeout=60)
    connection.putrequest("POST", "/api/workflows")
    for name, value in {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json",
                        "Transfer-Encoding": "chunked"}.items():  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders()
    before = psutil.Process(flower.pid).memory_info().rss
    chunk = b"%x\r\n%b\r\n" % (1_000_000, b" " * 1_000_000)
    for _ in range(80):
        connection.send(chunk)
    grown = psutil.Process(flower.pid).memory_info().rss - before
    connection.send(b"0\r\n\r\n")
    assert connection.getresponse().status == 413
    connection.close()
    assert grown < 60_000_000, "80 MB were sent"


_SAME = {"Cookie": "_xsrf=0123abcd", "X-XSRFToken": "0123abcd"}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("authorization", "headers", "status"),
    [
        (None, {}, 401),
        (None, _SAME, 401),
        ("Basic " + base64.b64encode(b"user:wrong").decode(), _SAME, 401),
        ("Bearer wrong-wrong-wrong-wrong", {}, 401),
        ("Bearer ", {}, 401),
        (USER, {}, 403),
        (USER, {"Cookie": "_xsrf=0123abcd"}, 403),
        (USER, {"Cookie": "_xsrf=0123abcd", "X-XSRFToken": "abcd0123"}, 403),
        (USER, {**_SAME, "Origin": "http://elsewhere.example"}, 403),
        (USER, {**_SAME, "Sec-Fetch-Site": "cross-site"}, 403),
        (USER, {**_SAME, "Sec-Fetch-Site": "same-site"}, 403),
        (USER, {**_SAME, "Sec-Fetch-Site": "same-origin"}, 404),
        (USER, _SAME, 404),
        (f"Bearer {TOKEN}", {}, 404),
    ],
)
def test_who_may_change_something(
    flower: Flower, authorization: str | None, headers: dict[str, str], status: int
) -> None:
    answers = [
        flower.ask(f"{base}/nosuch/cancel", method="POST", body={}, authorization=authorization, headers=headers)
        for base in ("/api/workflows", "/workflows/-")
    ]
    assert [answer.status for answer in answers] == [status, status], answers[0].text


def test_without_credentials_pages_can_be_read_and_nothing_else(bare: Flower, done: RunHandle) -> None:
    nobody: dict[str, Any] = {"authorization": None}
    page = bare.ask(f"/workflows/{done.id}", **nobody)
    assert page.status == 200
    assert 'href="/ops/workflows"' in page.text
    assert 'data-may-act="false"' in page.text
    assert bare.ask(f"/workflows/-/{done.id}", **nobody).json["run_id"] == done.id
    assert bare.ask(f"/workflows/-/{done.id}/retry", method="POST", body={}, **nobody).status == 401
    assert bare.get("", **nobody).status == bare.get(f"/{done.id}", **nobody).status == 401
    assert bare.get(f"/{done.id}").json["run_id"] == done.id, "a token is enough"
    refused = bare.post(f"/{done.id}/retry")
    assert (refused.status, refused.json["detail"]) == (403, "this Flower is read-only")
    assert bare.get("/openapi.json").json["servers"] == [{"url": "/ops/api"}]


def test_a_run_is_submitted_once_for_a_key(flower: Flower, client: Client) -> None:
    body = {"workflow": {"name": "keyed", "steps": [{"id": "a", "agent": "adder", "with": {"n": 1}}]}, "inputs": {}}
    answers = [flower.post("", body, headers={"Idempotency-Key": "order-1"}) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    run_id = answers[0].json["run_id"]
    assert answers[1].json["run_id"] == run_id
    assert answers[0].headers["Location"] == f"/api/workflows/{run_id}"
    assert client.get(run_id).wait(SECONDS).state is RunState.SUCCESS
    other = {**body, "inputs": {"x": 1}}
    other["workflow"] = {"name": "keyed", "steps": [{"id": "a", "agent": "adder", "with": {"n": 2}}]}
    refused = flower.post("", other, headers={"Idempotency-Key": "order-1"})
    assert (refused.status, refused.json["run_id"]) == (409, run_id)
    assert refused.json["differences"] == ["workflow.steps[0].with.n", "inputs.x"]


def test_a_registered_workflow_is_submitted_by_name(flower: Flower, client: Client) -> None:
    assert {"name": "registered", "required_inputs": ["brief"]} in flower.get("/definitions").json["definitions"]
    missing = flower.post("", {"workflow": "registered"})
    assert (missing.status, [one["path"] for one in missing.json["errors"]]) == (422, ["inputs.brief"])
    run_id = flower.post("", {"workflow": "registered", "inputs": {"brief": "b"}, "sequential": True}).json["run_id"]
    assert client.get(run_id).wait(SECONDS).state is RunState.SUCCESS


def test_a_run_is_paused_resumed_and_cancelled(flower: Flower, client: Client, tmp_path: Path) -> None:
    run = waiting(client, tmp_path, "a", "b")
    assert flower.get(f"/{run.id}").json["actions"] == ["cancel", "pause"]
    assert flower.post(f"/{run.id}/pause").json == {"run_id": run.id, "state": "paused"}
    assert flower.get(f"/{run.id}").json["actions"] == ["cancel", "resume"]
    assert flower.post(f"/{run.id}/resume").json["state"] == "running"
    assert flower.post(f"/{run.id}/cancel", {"reason": "a test"}).json["state"] == "cancelling"
    assert run.wait(SECONDS).state is RunState.CANCELLED
    view = flower.get(f"/{run.id}").json
    assert (view["reason"], view["actions"]) == ("a test", ["retry", "retry_failed"])
    assert [(step["attempts"][-1]["state"], step["may_retry"]) for step in view["steps"]] == [("cancelled", True)] * 2


def test_one_failed_step_is_retried_and_its_log_is_told(flower: Flower, client: Client, tmp_path: Path) -> None:
    (tmp_path / "fail-a").touch()
    steps = [{"id": "a", "agent": "waiter", "with": {"folder": str(tmp_path)}, "retry": ONCE},
             {"id": "b", "agent": "adder", "needs": ["a"]}]  # fmt: skip
    (tmp_path / "go").touch()
    run = client.submit({"name": "retried", "steps": steps})
    assert run.wait(SECONDS).state is RunState.FAILED
    view = flower.get(f"/{run.id}").json
    assert {step["id"]: step["may_retry"] for step in view["steps"]} == {"a": True, "b": False}
    (tmp_path / "fail-a").unlink()
    assert flower.post(f"/{run.id}/retry", {"step": "a"}).json["state"] == "running"
    assert run.wait(SECONDS).state is RunState.SUCCESS

    def begun() -> set[tuple[int, str]]:
        log = flower.get(f"/{run.id}/steps/a/log").json["lines"]
        return {(line["attempt"], line["text"]) for line in log if "begins" in line["text"]}

    both = {(1, "attempt 1 begins"), (2, "attempt 2 begins")}
    eventually(lambda: begun() == both, within=SECONDS, what="both logs are stored")
    idle(client)
    told = flower.get(f"/{run.id}/steps/a/log").json
    assert flower.get(f"/{run.id}/steps/a/log?after={told['cursor'] - 1}").json["lines"] == told["lines"][-1:]
    only = flower.get(f"/{run.id}/steps/a/log?attempt=2").json["lines"]
    assert {line["attempt"] for line in only} == {2}
    assert flower.get(f"/{run.id}/steps/a/output").json["values"]["attempt"]["value"] == 2
    hint = flower.get(f"/{run.id}/steps/aa/log").json["detail"]
    assert hint == f"run {run.id} has no step 'aa'; did you mean 'a'?"


def test_artifacts_are_listed_and_sent_to_be_saved(flower: Flower, client: Client) -> None:
    page = "<script>alert(1)</script>"
    files = {"design/ä page.html": page, "notes.txt": "x" * 10, "client_secret.txt": "hidden"}
    steps = [{"id": "a", "agent": "adder", "with": {"files": files}}]
    run = client.submit({"name": "files", "steps": steps})
    assert run.wait(SECONDS).state is RunState.SUCCESS
    assert flower.get(f"/{run.id}").json["artifacts"] == [
        {"step": "a", "name": "design/ä page.html", "bytes": len(page)},
        {"step": "a", "name": "notes.txt", "bytes": 10},
    ]
    answer = flower.get(f"/{run.id}/steps/a/artifact?{urlencode({'name': 'design/ä page.html'})}", authorization=USER)
    assert (answer.status, answer.text) == (200, page)
    told = answer.headers
    assert (told["Content-Type"], told["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert told["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A4%20page.html"
    assert told["Content-Security-Policy"].startswith("sandbox")
    for name, status in {"client_secret.txt": 403, "nosuch": 404, "../b/notes.txt": 404, "": 422}.items():
        assert flower.get(f"/{run.id}/steps/a/artifact?{urlencode({'name': name})}").status == status, name


OAUTH = {
    "auth": "ada@example.com", "auth_provider": "flower.views.auth.OktaLoginHandler", "oauth2_key": "key",
    "oauth2_secret": "secret", "oauth2_redirect_uri": "http://127.0.0.1/login", "cookie_secret": "of the tests",
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """A Flower that sends people to a provider of identities, which nobody asks here."""
    directory = tmp_path_factory.mktemp("guarded")
    okta = {"FLOWER_OAUTH2_OKTA_BASE_URL": "http://127.0.0.1:9/oauth2"}
    yield from _started(Flower(module_store.url, directory, app=APP, credentials=False, environment=okta, **OAUTH))


def test_with_oauth_nothing_of_ours_is_shown_before_somebody_has_logged_in(
    guarded: Flower, client: Client, done: RunHandle
) -> None:
    """Flower gives who has logged in a signed cookie; pages lead the others to its login, and that to the provider."""
    run, data = f"/workflows/{done.id}", f"/workflows/-/{done.id}"
    shown = ["/workflows", run, f"/workflows/compare?a={done.id}&b={done.id}"]
    read = ["/workflows/static/run.bundle.js", "/workflows/static/chart.css", "/workflows/-", "/workflows/-/events",
            data, f"{data}/events", f"{data}/inputs", f"{data}/steps/first/log", f"{data}/steps/first/artifact?name=a",
            "/api/workflows", f"/api/workflows/{done.id}/events", "/api/workflows/openapi.json"]  # fmt: skip

    def signed(email: str, secret: str = OAUTH["cookie_secret"]) -> dict[str, str]:
        return {"Cookie": f"user={create_signed_value(secret, 'user', email).decode()}; _xsrf=0123abcd"}

    strangers: list[dict[str, str]] = [
        {}, {"Authorization": USER}, signed("eve@example.com"), signed("ada@example.com", "of others"),
    ]  # fmt: skip
    for headers in strangers:
        for path in shown:
            answer = guarded.ask(path, authorization=None, headers=headers)
            assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/login"), path
        statuses = {path: guarded.ask(path, authorization=None, headers=headers).status for path in read}
        assert statuses == dict.fromkeys(read, 401), headers
    provider = guarded.ask("/login", authorization=None)
    assert provider.headers["Location"].startswith("http://127.0.0.1:9/oauth2/v1/authorize?")
    ada = signed("ada@example.com")
    seen = [*shown, *(path for path in read if not path.partition("?")[0].endswith(("events", "artifact")))]
    statuses = {path: guarded.ask(path, authorization=None, headers=ada).status for path in seen}
    assert statuses == dict.fromkeys(seen, 200)
    posts = [guarded.ask(f"{data}/cancel", method="POST", body={}, authorization=None, headers=ada | more)
             for more in ({}, {"X-XSRFToken": "0123abcd"})]  # fmt: skip
    assert [answer.status for answer in posts] == [403, 409], "a cookie alone changes nothing"


def test_a_conflict_is_resolved_and_versions_are_compared(flower: Flower, client: Client) -> None:
    member = {"agent": "deputy", "retry": ONCE}
    document = {
        "name": "disputed",
        "execution_groups": {
            "g": {"agents": [{"id": name, **member, "with": {"value": name}} for name in ("x", "y")],
                  "parallel_capable": True},
        },
    }  # fmt: skip
    run = client.submit(document)
    eventually(lambda: run.status().state is RunState.AWAITING_INPUT, within=SECONDS, what="a person is asked")
    (conflict,) = flower.get(f"/{run.id}").json["conflicts"]
    assert (conflict["state"], conflict["place"], conflict["choices"]) == (
        "open", "board.title", ["ours", "theirs", "base"],
    )  # fmt: skip
    assert {conflict["ours"]["value"], conflict["theirs"]["value"]} == {"x", "y"}
    answer = flower.post(f"/{run.id}/conflicts/{conflict['id']}/resolve", {"choice": "theirs"})
    assert (answer.status, answer.json["state"], answer.json["by_hand"]) == (200, "resolved", True)
    assert run.wait(SECONDS).state is RunState.SUCCESS
    again = flower.post(f"/{run.id}/conflicts/{conflict['id']}/resolve", {"value": 1})
    assert again.status == 409
    versions = [one["version"] for one in flower.get(f"/{run.id}/versions").json["versions"]]
    changed = flower.get(f"/{run.id}/diff?a={versions[-1]}&b={versions[0]}").json["differences"]
    (board,) = (one for one in changed if one["field"] == "board.title")
    assert (board["kind"], board["after"]["value"]) == ("changed", conflict["theirs"]["value"])
    latest = flower.get(f"/{run.id}/versions/latest").json["values"]
    assert latest["board"]["value"] == {"title": conflict["theirs"]["value"]}


def test_dead_letters_are_listed_and_dropped(flower: Flower, client: Client) -> None:
    dead_letters.keep_message(client.redis, DeadMessage(reason="unknown task", task="nobody"), retention=60)
    (message,) = flower.get("/dead-letters").json["messages"]
    assert message["task"] == "nobody"
    assert flower.post(f"/dead-letters/messages/{message['id']}/drop").status == 200
    assert flower.get("/dead-letters").json == {"steps": [], "messages": []}


class Watcher:
    """One connection that follows a run, or without one all of them."""

    def __init__(self, flower: Flower, run_id: str = "", *, after: str = "", query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", flower.port, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Last-Event-ID": after} if after else {})
        address = "/api/workflows" + (f"/{run_id}" if run_id else "")
        self._connection.request("GET", f"{address}/events{query}", headers=headers)
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events, each checked to stand under its id, and how far runs are."""
        name = ""
        while line := self.answer.readline():
            kind, _, value = line.decode().strip().partition(": ")
            if kind in ("id", "event"):
                name = value
            elif kind == "data":
                event = json.loads(value)
                assert event.get("id", "progress") == name
                yield event

    def until(self, state: str) -> list[dict[str, Any]]:
        """The events up to that state of the run."""
        found = []
        for event in self:
            found.append(event)
            if (event["type"], event["state"]) == ("run", state):
                return found
        raise AssertionError(f"the stream ended before the run was {state}")

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


def test_events_come_while_they_happen_and_go_on_where_somebody_left(
    flower: Flower, client: Client, done: RunHandle, tmp_path: Path
) -> None:
    run = waiting(client, tmp_path, "a")
    watcher = Watcher(flower, run.id)
    assert [event["state"] for event in watcher.until("running")] == ["pending", "queued", "running"]
    (tmp_path / "go").touch()
    seen = watcher.until("success")
    assert [(event["type"], event["step"], event["state"]) for event in seen] == [
        ("step", "a", "running"), ("step", "a", "success"), ("run", None, "success"),
    ]  # fmt: skip
    assert run.retry() is RunState.RUNNING, "a retry opens it again, and the same watcher is told"
    assert watcher.until("success")
    watcher.close()
    late = Watcher(flower, run.id, after=seen[0]["id"], query="?follow=false")
    told = [event["id"] for event in late]
    assert told[:2] == [event["id"] for event in seen[1:]]
    everything = [event.id for event in run.events(follow=False)]
    assert told == everything[everything.index(seen[1]["id"]) :]
    for query in ("?follow=false", "?follow=false&after=0"):
        assert [event["id"] for event in Watcher(flower, run.id, query=query)] == everything
    future = Watcher(flower, run.id, after="99999999999999-0")
    assert next(iter(future))["id"] == everything[0], "a store that has forgotten tells everything"
    future.close()


def test_a_hundred_watchers_share_one_reader_and_leave_nothing_behind(
    flower: Flower, client: Client, module_store: Store, tmp_path: Path
) -> None:
    process = psutil.Process(flower.pid)
    with ThreadPoolExecutor(100) as pool:

        def watched(run: RunHandle, folder: Path) -> None:
            watchers = list(pool.map(lambda _: Watcher(flower, run.id), range(100)))
            eventually(lambda: len(reading(client)) == 1, within=SECONDS, what="one connection reads for all of them")
            endings = [pool.submit(one.until, "success") for one in watchers[:50]]
            (folder / "go").touch()
            lengths = {len(ending.result(SECONDS)) for ending in endings}
            assert lengths == {len(list(run.events(follow=False)))}, "everyone is told everything"
            for one in watchers:
                one.close()

        for turn in range(3):
            folder = tmp_path / str(turn)
            folder.mkdir()
            run = waiting(client, folder, "a")
            watched(run, folder)
            if not turn:
                eventually(lambda: not reading(client), within=SECONDS, what="the reader leaves")
                files, memory = process.num_fds(), process.memory_info().rss
    eventually(lambda: not reading(client), within=SECONDS, what="the reader leaves")
    most = files + THREADS  # each thread may have connected to the store meanwhile, and keeps that connection
    eventually(lambda: process.num_fds() <= most, within=SECONDS, what=f"{most} files at most are open again")
    assert process.memory_info().rss < memory + 20_000_000


def test_the_list_is_told_of_runs_that_begin_end_and_begin_anew(flower: Flower, client: Client, tmp_path: Path) -> None:
    before = waiting(client, tmp_path, "a", "b")
    watcher = Watcher(flower)
    told = iter(watcher)
    first = next(told)
    assert first["type"] == "missed", "from here on it is told"
    run = client.submit({"name": "told", "steps": [{"id": "a", "agent": "adder"}]})

    def until(run_id: str, state: str) -> None:
        assert any((one["run"], one["state"]) == (run_id, state) for one in told)

    until(run.id, "success")
    list_of = Watcher(flower, query=f"?run={before.id}&run=nosuch&after={first['id']}")
    rows = (told for told in list_of if "id" not in told)
    row = next(rows)
    assert (row["run_id"], row["state"], row["progress"]) == (before.id, "running", 0), "where it stands is told first"
    (tmp_path / "go-a").touch()
    assert next(row for row in rows if row["progress"] == 0.5)["state"] == "running"
    (tmp_path / "go").touch()
    assert next(row for row in rows if row["progress"] == 1)["run_id"] == before.id
    list_of.close()
    until(before.id, "success")
    run.wait(SECONDS)
    run.retry()
    until(run.id, "success")
    watcher.close()
    late = Watcher(flower, after=first["id"])
    assert next(iter(late))["run"] == run.id, "who comes back is told what has happened meanwhile"
    late.close()
    client.redis.xtrim(NEWS, maxlen=1, approximate=False)
    lost = iter(Watcher(flower, after=first["id"]))
    assert [next(lost)["type"], next(lost)["type"]] == ["missed", "run"], "or that not all of it is kept"


def reading(client: Client) -> list[Any]:
    """The connections on which somebody waits for events, or did a moment ago; idle ones stay in their pools."""
    every: list[Any] = client.redis.client_list()
    return [one for one in every if "xread" in one["cmd"] and ("b" in one["flags"] or one["idle"] == "0")]


@pytest.mark.usefixtures("client")
def test_a_store_that_does_not_answer_holds_up_nobody_else(flower: Flower, module_store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        module_store.server.freeze()
        try:
            waiting_for_it = [pool.submit(flower.get, "", timeout=60) for _ in range(4)]
            for page in ("/workflows", "/healthcheck", "/workflows/compare"):
                assert flower.ask(page, authorization=USER, timeout=60).status == 200
            assert not any(one.done() for one in waiting_for_it)
        finally:
            module_store.server.thaw()
        assert [one.result(60).status for one in waiting_for_it] == [200] * 4


def test_what_the_document_allows_and_what_it_does_not(flower: Flower, done: RunHandle, tmp_path: Path) -> None:
    """schemathesis sends both, and looks at every answer."""
    run = {"path.run": done.id, "path.step": "first", "path.version": "latest", "path.conflict": "0123456789ab"}
    values = "\n".join(f'"{name}" = "{value}"' for name, value in run.items())
    (tmp_path / "schemathesis.toml").write_text(
        f'[parameters]\n{values}\n[[operations]]\ninclude-operation-id = "submit"\n'
        "checks.positive_data_acceptance.enabled = false\n"  # no schema tells what makes a definition run
    )
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{flower.url}/api/workflows/openapi.json",
        "-H", f"Authorization: Bearer {TOKEN}", "--exclude-operation-id-regex", "^follow_",
        "--phases", "fuzzing", "--max-examples", "6", "--seed", "1", "--no-color", "--warnings", "off",
    ]  # fmt: skip
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Tested: " in finished.stdout
