"""docker-compose.yml and Procfile: one deployment, written down twice, and every line of it runs."""

from __future__ import annotations

import base64
import copy
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import honcho.environ
import psutil
import pytest
import yaml
from celery import Celery
from jsonschema import Draft7Validator

from orchestrator.processes import die_with_parent, kill_group
from tests.conftest import Store, unused_ports

WORKERS = ("planning", "design", "delivery", "drills", "benchmarks", "worker", "control")
AGENTS = ("analyst", "pm", "ux_expert", "architect", "developer", "qa", "drills")
EVERYTHING = {"control", *(f"agents.{name}" for name in AGENTS)}
CREDENTIALS = "operator:correct-horse"
STOP_SECONDS = 90


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def procfile(root: Path) -> dict[str, str]:
    processes: dict[str, str] = honcho.environ.parse_procfile((root / "Procfile").read_text()).processes
    return processes


@pytest.fixture(scope="module")
def schema(root: Path) -> Draft7Validator:
    return Draft7Validator(json.loads((root / "tests/fixtures/compose-spec/compose-spec.json").read_text()))


def test_compose_file_follows_the_specification(compose: dict[str, Any], schema: Draft7Validator) -> None:
    assert [f"{error.json_path}: {error.message}" for error in schema.iter_errors(compose)] == []


def _misspelt(document: dict[str, Any]) -> None:
    document["services"]["beat"]["restarts"] = "always"


def _wrong_condition(document: dict[str, Any]) -> None:
    document["services"]["beat"]["depends_on"]["valkey"]["condition"] = "service_is_healthy"


def _no_string(document: dict[str, Any]) -> None:
    document["services"]["valkey"]["image"] = 9


@pytest.mark.parametrize("spoil", [_misspelt, _wrong_condition, _no_string])
def test_the_specification_would_refuse_a_mistake(
    compose: dict[str, Any], schema: Draft7Validator, spoil: Callable[[dict[str, Any]], None]
) -> None:
    spoilt = copy.deepcopy(compose)
    spoil(spoilt)
    assert list(schema.iter_errors(spoilt))


def test_compose_runs_what_the_procfile_runs(compose: dict[str, Any], procfile: dict[str, str]) -> None:
    services = {name: service for name, service in compose["services"].items() if name != "valkey"}
    commands = {name: [word.replace("$$", "$") for word in service["command"]] for name, service in services.items()}
    assert commands == {name: ["sh", "-c", line] for name, line in procfile.items()}


def test_every_service_comes_back_and_waits_for_the_store(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        if name != "valkey":
            assert service["depends_on"]["valkey"]["condition"] == "service_healthy", name
    assert {name for name, service in compose["services"].items() if "healthcheck" not in service} == {"beat"}


def test_the_store_is_durable_never_evicts_and_asks_for_a_password(compose: dict[str, Any]) -> None:
    valkey = compose["services"]["valkey"]
    command = valkey["command"][-1]
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", '--requirepass "$$REDISCLI_AUTH"'):
        assert option in command
    (volume,) = valkey["volumes"]
    assert volume == "valkey-data:/data"
    assert {mount.partition(":")[0] for s in compose["services"].values() for mount in s.get("volumes", ())} == set(
        compose["volumes"]
    )


def test_no_secret_is_written_down_and_none_has_a_default(root: Path, compose: dict[str, Any]) -> None:
    environments = [service["environment"] for service in compose["services"].values()]
    secrets = [
        value for environment in environments for name, value in environment.items() if name.endswith(("_AUTH", "_URL"))
    ]
    assert len(secrets) > len(WORKERS)
    assert [value for value in secrets if ":?" not in value] == []


def test_only_flower_is_reachable_and_only_from_this_host(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"flower": ["127.0.0.1:5555:5555"]}


def _spawn(root: Path, environment: Mapping[str, str], line: str) -> subprocess.Popen[str]:
    """A line of the Procfile, run by a shell as honcho and compose do it."""
    return subprocess.Popen(
        ["sh", "-c", line],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared prctl call, safe between fork and exec
    )


def _end(process: subprocess.Popen[str]) -> None:
    kill_group(process.pid)
    process.communicate()


def _await(process: subprocess.Popen[str], ready: str) -> subprocess.Popen[str]:
    """Read what it prints up to `ready`; the test's own timeout bounds the wait. Fails when it ends before."""
    assert process.stdout is not None
    output = []
    for text in process.stdout:
        output.append(text)
        if ready in text:
            return process
    raise AssertionError(f"{process.args!r} ended with {process.wait()}:\n{''.join(output)}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    output, _ = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def environment(module_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    engine = home / "engine.yaml"
    engine.write_text("engine: {beat_lock_timeout: 60}\n")  # a beat of a busy machine is not taken for a dead one
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "ORCHESTRATOR_HOME": str(home / "orchestrator"),
        "ORCHESTRATOR_ENGINE_FILE": str(engine),
        "ORCHESTRATOR_BROKER_URL": module_store.broker_url,
        "ORCHESTRATOR_STORE_URL": module_store.url,
        "FLOWER_BASIC_AUTH": CREDENTIALS,
        "FLOWER_PORT": str(unused_ports(1)[0]),
    }


@pytest.fixture(scope="module")
def started(
    root: Path, environment: dict[str, str], procfile: dict[str, str]
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The lines at once: as compose runs them, and `worker` as honcho does where two of it are wanted. Beat is started
    alone: so many starts leave it no time."""
    several = honcho.environ.expand_processes({"worker": procfile["worker"]}, concurrency={"worker": 2})
    own: dict[str, str] = {}
    lines = {name: (line, own) for name, line in procfile.items() if name not in ("worker", "beat")}
    lines |= {one.name: (one.cmd, one.env) for one in several}
    with ExitStack() as running:
        found = {}
        for name, (line, its) in lines.items():
            found[name] = _spawn(root, {**environment, **its}, line)
            running.callback(_end, found[name])
        yield found


def test_the_workers_serve_every_queue_and_health_checks_see_them_go(
    root: Path,
    module_store: Store,
    environment: dict[str, str],
    started: dict[str, subprocess.Popen[str]],
    compose: dict[str, Any],
) -> None:
    _, check = compose["services"]["control"]["healthcheck"]["test"]

    def healthy() -> bool:
        command = ["sh", "-c", check.replace("$$", "$")]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    workers = [_await(process, " ready.") for name, process in started.items() if name.partition(".")[0] in WORKERS]
    with Celery(broker=module_store.broker_url) as app:
        active = app.control.inspect(timeout=60, limit=len(workers)).active_queues() or {}
    served = {node.partition("@")[0]: {queue["name"] for queue in queues} for node, queues in active.items()}
    assert served == {
        "planning": {"agents.analyst", "agents.pm"},
        "design": {"agents.ux_expert", "agents.architect"},
        "delivery": {"agents.developer", "agents.qa"},
        "drills": {"agents.drills"},
        "benchmarks": {"agents.benchmarks"},
        "worker.1": EVERYTHING,
        "worker.2": EVERYTHING,
        "control": {"control"},
    }
    assert healthy()
    control = psutil.Process(started["control"].pid)
    command = control.cmdline()[1:]
    started["control"].send_signal(signal.SIGHUP)
    _await(started["control"], " ready.")
    assert control.cmdline()[1:] == command, "it started again as it was started"
    for process in workers:
        process.terminate()
    assert [process.wait(timeout=STOP_SECONDS) for process in workers] == [0] * len(workers)
    assert not healthy()


def test_every_worker_is_asked_for_itself(compose: dict[str, Any]) -> None:
    for name in WORKERS:
        assert f"--destination {name}@$$(hostname)" in compose["services"][name]["healthcheck"]["test"][1]


def test_beat_sends_what_is_due(root: Path, environment: dict[str, str], procfile: dict[str, str]) -> None:
    beat = _spawn(root, environment, procfile["beat"])
    try:
        _stop(_await(beat, "Scheduler: Sending due task"))
    finally:
        _end(beat)


def _status(url: str, credentials: str | None = None) -> int:
    request = urllib.request.Request(url)
    if credentials:
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_flower_asks_who_is_there(environment: dict[str, str], started: dict[str, subprocess.Popen[str]]) -> None:
    flower = _await(started["flower"], "Connected to")
    address = f"http://127.0.0.1:{environment['FLOWER_PORT']}"
    assert _status(f"{address}/workers") == 401
    assert _status(f"{address}/workers", "operator:wrong") == 401
    assert _status(f"{address}/workers", CREDENTIALS) == 200
    assert _status(f"{address}/healthcheck") == 200
    flower.terminate()
    flower.communicate(timeout=STOP_SECONDS)


def test_flower_does_not_start_without_credentials(
    root: Path, environment: dict[str, str], procfile: dict[str, str]
) -> None:
    unlocked = {name: value for name, value in environment.items() if name != "FLOWER_BASIC_AUTH"}
    with pytest.raises(AssertionError, match="set it to user:password"):
        _await(_spawn(root, unlocked, procfile["flower"]), "Connected to")
