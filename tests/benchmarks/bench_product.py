"""The documents' workflow with sleeping agents, beside raw Celery's hand-written chain and chord, in turn.

    python -m tests.benchmarks.bench_product [rounds]

Prints both overheads over the critical path (client to client), their medians and their ratio. One second stands for
ten minutes: analyst 0.4, pm 0.5, ux_expert 0.7 beside architect 0.7, developer 1.0, qa 0.5; critical path 3.1 s.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestrator import Client
from orchestrator.processes import die_with_parent
from orchestrator.workflow.loader import load_workflow
from tests.servers import ValkeyServer
from tests.workers import ROOT, Worker, eventually

SECONDS = {"analyst": 0.4, "pm": 0.5, "ux_expert": 0.7, "architect": 0.7, "developer": 1.0, "qa": 0.5}
DESIGNERS = ("ux_expert", "architect")
CRITICAL_PATH = 3.1
CHILDREN = 8


def workflow() -> dict[str, Any]:
    """The product workflow of the documents, with `sleep` for every agent."""

    def step(name: str, *needs: str) -> dict[str, Any]:
        return {"id": name, "agent": "sleep", "with": {"seconds": SECONDS[name]}, "needs": list(needs)}

    members = [step(name) for name in DESIGNERS]
    design = {"agents": members, "dependencies": ["pm"], "parallel_capable": True}
    steps = [step("analyst"), step("pm", "analyst"), step("developer", *DESIGNERS), step("qa", "developer")]
    return {"name": "product", "steps": steps, "execution_groups": {"design": design}}


def raw_worker(url: str, log: Path) -> subprocess.Popen[bytes]:
    """Celery as a user sets it up, with as many children as ours."""
    command = "celery -A tests.benchmarks.raw_app worker -Q raw -n raw@bench --without-gossip --without-mingle -l INFO"
    arguments = [sys.executable, "-m", *command.split(), "-c", str(CHILDREN)]
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, cwd=ROOT, env=os.environ | {"RAW_URL": url}, stdout=out, stderr=out,
                                   preexec_fn=die_with_parent)  # noqa: PLW1509 # fmt: skip
    eventually(lambda: b" ready." in log.read_bytes(), within=30, what="the raw worker is ready")
    return process


def ours_worker(url: str, folder: Path) -> Worker:
    """Our deployment with its own settings, a worker for the one class at work as the Procfile has it."""
    engine = {"ORCHESTRATOR_ENGINE_FILE": str(ROOT / "config" / "engine.yaml")}
    return Worker(url, folder, concurrency=CHILDREN, queues=("agents.drills", "control"), environment=engine)


def measure(rounds: int, store_url: str, raw_url: str, folder: Path) -> dict[str, list[float]]:
    """Overheads in seconds, one of each per round; a first round of both warms up and is not counted."""
    os.environ["RAW_URL"] = raw_url
    from tests.benchmarks import raw_app

    found: dict[str, list[float]] = {"ours": [], "raw Celery": []}
    raw = raw_worker(raw_url, folder / "raw.log")
    try:
        definition = load_workflow(workflow())
        with ours_worker(store_url, folder), Client(store_url) as client:
            for _ in range(rounds + 1):
                began = time.perf_counter()
                raw_app.product(SECONDS).apply_async().get(timeout=60)
                found["raw Celery"].append(time.perf_counter() - began - CRITICAL_PATH)
                began = time.perf_counter()
                status = client.submit(definition).wait(60)
                found["ours"].append(time.perf_counter() - began - CRITICAL_PATH)
                assert status.state == "success", status
    finally:
        raw.send_signal(signal.SIGTERM)
        raw.wait()
    return {name: values[1:] for name, values in found.items()}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / "valkey").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = ValkeyServer(folder / "valkey", options={"port": str(port), "bind": "127.0.0.1"})
        try:
            server.start()
            url = f"redis://127.0.0.1:{port}"
            found = measure(rounds, f"{url}/1", f"{url}/2", folder)
        finally:
            server.close()
    for name, values in found.items():
        median = statistics.median(values) * 1000
        print(f"{name:11s} overhead, ms: {' '.join(f'{value * 1000:.0f}' for value in values)}; median {median:.1f}")
    pairs = [ours / raw for ours, raw in zip(found["ours"], found["raw Celery"], strict=True)]
    medians = statistics.median(found["ours"]) / statistics.median(found["raw Celery"])
    print(f"ours / raw: {medians:.2f} of the medians, {statistics.median(pairs):.2f} median of the pairs; no AOF")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
