"""rediss:// URLs: queues, store and results through TLS, with the certificate checked. The server is behind a front of
ours that speaks TLS, because not every build of Valkey does."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from orchestrator import Client
from orchestrator.connection import connect_blocking, guarded
from orchestrator.engine.app import create_app
from orchestrator.errors import StoreUnavailable
from orchestrator.run.models import RunState
from orchestrator.settings import EngineSettings
from tests.conftest import Store
from tests.front import Front, self_signed
from tests.workers import Worker

SECONDS = 40


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only itself vouches for, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def port(store: Store, certificate: tuple[Path, Path]) -> Iterator[int]:
    """Where TLS is spoken; behind it is the server of the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Front(store.server.socket, context) as front:
        yield front.port


def test_a_run_through_tls(store: Store, port: int, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    url = f"rediss://127.0.0.1:{port}/{store.database}?ssl_ca_certs={certificate[0]}"
    with Worker(url, tmp_path, concurrency=2), Client(url) as client:
        steps = [{"id": "a", "agent": "noop"}, {"id": "b", "agent": "noop", "needs": ["a"]}]
        assert client.submit({"name": "secret", "steps": steps}).wait(SECONDS).state is RunState.SUCCESS
        sent = client.app.send_task("orchestrator.submit", args=("drills",))
        assert client.get(sent.get(timeout=SECONDS)).wait(SECONDS).state is RunState.SUCCESS


def test_a_certificate_that_nobody_vouches_for_is_refused(store: Store, port: int) -> None:
    url = f"rediss://127.0.0.1:{port}/{store.database}"
    with pytest.raises(StoreUnavailable, match="certificate verify failed"), connect_blocking(url) as client, guarded():
        client.ping()
    with create_app(url, url, EngineSettings(), name="tls", set_as_current=False) as app:
        with pytest.raises(OperationalError, match="certificate verify failed"), app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0)
        results: Any = app.backend
        assert results.connparams["ssl_cert_reqs"] is ssl.CERT_REQUIRED
