"""pytest-celery's setups of a broker and a worker: of processes of this machine, or of containers.

pytest-celery itself knows containers only; its nodes, clusters and setups do not care what is behind one.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from celery import Celery
from docker.errors import DockerException
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    CeleryWorkerContainer,
    RedisContainer,
    RedisTestBackend,
    RedisTestBroker,
)
from pytest_docker_tools.utils import wait_for_callable

from tests.conftest import Store
from tests.workers import ROOT, Worker

STORE_URL = "ORCHESTRATOR_STORE_URL"
IMAGE, VALKEY = "orchestrator:plain", "valkey/valkey:9-alpine"
START_SECONDS = 60


class LocalServer(RedisContainer):  # type: ignore[misc]
    """A database of a server that runs here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    name = "valkey"

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {"url": self._store.url, "host_url": self._store.url, "vhost": str(self._store.database)}

    def ready(self) -> bool:
        return bool(self._wait_ready())

    def logs(self) -> str:
        return (self._store.server.directory / "valkey.log").read_text()


class LocalWorker(CeleryWorkerContainer):  # type: ignore[misc]
    """A worker that runs here."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def name(self) -> str:
        return self._worker.log.stem

    def ready(self) -> bool:
        running = self._worker.process is not None and self._worker.process.poll() is None
        return running and bool(self._wait_ready())

    def logs(self) -> str:
        return self._worker.text()


def setup_of(server: Any, worker: Any, app: Celery) -> CeleryTestSetup:
    """One server for broker and results, one worker, and their client."""
    setup = CeleryTestSetup(
        broker_cluster=CeleryBrokerCluster(RedisTestBroker(server)),
        backend_cluster=CeleryBackendCluster(RedisTestBackend(server)),
        worker_cluster=CeleryWorkerCluster(CeleryTestWorker(worker, app)),
        app=app,
    )
    assert setup.ready()
    return setup


class Containers:
    """Server and workers in containers of one network, the workers from this deployment's own image."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        try:
            self._engine = docker.from_env()
            self._engine.ping()
        except DockerException as error:
            pytest.skip(f"no Docker engine answers: {error}")
        stack.callback(self._engine.close)
        # Not by the client, which knows nothing of the Dockerfile's own list of what to leave out.
        build = ("docker", "build", "--quiet", "--tag", IMAGE, "--file", "config/deploy/Dockerfile", ".")
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        self._network = self._engine.networks.create(f"plain-{uuid.uuid4().hex[:8]}")
        stack.callback(self._network.remove)

    def server(self) -> RedisContainer:
        command = ["valkey-server", *RedisContainer.command()[1:]]
        return self._started(RedisContainer, VALKEY, command=command, ports={"6379/tcp": ("127.0.0.1", None)})

    def worker(self, app: str, environment: Mapping[str, str]) -> CeleryWorkerContainer:
        command = ["celery", "-A", app, "worker", "--concurrency=2", "--without-gossip", "--without-mingle",
                   "--loglevel=INFO"]  # fmt: skip
        tests = {str(ROOT / "tests"): {"bind": "/srv/orchestrator/tests", "mode": "ro"}}
        return self._started(
            CeleryWorkerContainer, IMAGE, command=command, environment=dict(environment), volumes=tests
        )

    def _started(self, kind: Any, image: str, **options: Any) -> Any:
        raw = self._engine.containers.run(image, detach=True, network=self._network.name, **options)
        self._stack.callback(raw.remove, force=True)
        node = kind(raw)
        wait_for_callable(f"{image} starts", node.ready, START_SECONDS)
        return node


@contextmanager
def in_processes(stores: Mapping[str, Store], directory: Path, module: Any) -> Iterator[dict[str, CeleryTestSetup]]:
    """A setup for each backend, each in a database of its own; the workers start side by side."""
    workers = {
        backend: Worker(store.url, directory, name=backend, concurrency=2, app=module.__name__,
                        environment={module.BACKEND: backend})
        for backend, store in stores.items()
    }  # fmt: skip
    with ExitStack() as stack:
        for worker in workers.values():
            stack.callback(worker.stop)
        Worker.start_all(*workers.values())
        yield {
            backend: setup_of(LocalServer(store), LocalWorker(workers[backend]), module.plain_app(store.url, backend))
            for backend, store in stores.items()
        }


@contextmanager
def in_containers(backends: tuple[str, ...], module: Any) -> Iterator[dict[str, CeleryTestSetup]]:
    """The same in containers; skips the test where no Docker engine answers."""
    with ExitStack() as stack:
        containers, found = Containers(stack), {}
        for backend in backends:
            server = containers.server()
            config = server.celeryconfig
            worker = containers.worker(module.__name__, {STORE_URL: config["url"], module.BACKEND: backend})
            found[backend] = setup_of(server, worker, module.plain_app(config["host_url"], backend))
        yield found
