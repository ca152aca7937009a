"""Alarms in Redis, and alerts on their way to a real mail server and a real HTTP server."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Messages
from aiosmtpd.smtp import AuthResult

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.engine import forwarding
from orchestrator.engine.forwarding import ATTEMPTS, Forwarder
from orchestrator.engine_alerts import Alerting, EmailSettings, WebhookSettings
from orchestrator.errors import SettingsError
from orchestrator.metrics.alerts import Alert, Severity, alerts, raise_alert
from orchestrator.metrics.forwarding import channels
from orchestrator.metrics.thresholds import Thresholds, forget
from tests.front import self_signed
from tests.workers import eventually

LIMITS: dict[Any, float] = {"cpu_usage": 90, "queue_depth": 3}


def test_many_workers_see_one_queue_and_tell_it_once(store_url: str) -> None:
    client = connect(store_url)
    workers = [Thresholds(client, LIMITS) for _ in range(3)]

    def all_see(depth: float) -> None:
        for worker in workers:
            worker.see("queue_depth", "agents.pm", depth)

    for depth in (3, 5, 4, 9, 2, 2, 1):
        all_see(depth)
    assert [(one.kind, one.subject, one.severity) for one in reversed(alerts(client))] == [
        ("queue_depth", "agents.pm", "warning"),
        ("queue_depth_cleared", "agents.pm", "info"),
    ]
    assert alerts(client)[1].message == "agents.pm: steps wait: 5, from 3 on that is too much"
    for depth in (7, 7):
        all_see(depth)
    assert len(alerts(client)) == 3


def test_a_metric_without_a_threshold_and_a_calm_start_tell_nothing(store_url: str, store_client: redis.Redis) -> None:
    client = connect(store_url)
    watching = Thresholds(client, LIMITS)
    for _ in range(5):
        watching.see("memory_usage", "w1", 99)
        watching.see("cpu_usage", "w1", 10)
    assert alerts(client) == []
    for _ in range(2):
        watching.see("cpu_usage", "w1", 99)
    assert store_client.hkeys(keys.ALARMS) == ["cpu_usage/w1"]
    forget(client, "w1")
    assert not store_client.exists(keys.ALARMS)


def test_who_starts_after_those_who_raised_an_alarm_ends_it(store_url: str) -> None:
    client = connect(store_url)
    first = Thresholds(client, LIMITS)
    for _ in range(2):
        first.see("queue_depth", "agents.pm", 9)
    second = Thresholds(client, LIMITS)
    for _ in range(2):
        second.see("queue_depth", "agents.pm", 0)
    assert alerts(client)[0].kind == "queue_depth_cleared"


@dataclass
class Hook:
    """An HTTP server that keeps what is posted, and answers with `status`."""

    url: str = ""
    status: int = 204
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.paths.append(self.path)
            found.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/secret-path"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


class Inbox(Messages):
    """Keeps what is delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)


@contextmanager
def mail_server(port: int, **options: Any) -> Iterator[Inbox]:
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port, ready_timeout=60, **options)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


def alerting(port: int = 25) -> Alerting:
    return Alerting(
        webhook=WebhookSettings(allowed_hosts=("127.0.0.1",), timeout=60),
        email=EmailSettings(host="127.0.0.1", port=port, starttls=False, recipients=("ops@example.com",
        "b@example.com"), timeout=60),
    )  # fmt: skip


ALERT = Alert(kind="cpu_usage", message="w1: 95 %\nBcc: evil@example.com", subject="w1", severity=Severity.WARNING)


def test_each_alert_reaches_every_channel_once_whoever_looks(store_url: str, hook: Hook, free_port: int) -> None:
    client = connect(store_url)
    raise_alert(client, ALERT.model_copy(update={"message": "before anybody listened"}))
    sends = channels(alerting(free_port), hook.url, None)
    workers = [Forwarder(client, f"w{number}", sends) for number in range(3)]
    with mail_server(free_port) as inbox:
        assert [worker.forward() for worker in workers] == [0, 0, 0]
        raise_alert(client, ALERT)
        assert [worker.forward() for worker in workers] == [2, 0, 0]
    (body,) = hook.bodies
    assert (body["kind"], body["subject"], body["text"]) == ("cpu_usage", "w1", f"warning: {ALERT.message}")
    (mail,) = inbox.mails
    assert mail["Subject"] == "[orchestrator] warning: w1: 95 % Bcc: evil@example.com"
    assert (mail["To"], mail["Bcc"]) == ("ops@example.com, b@example.com", None)
    assert "kind: cpu_usage" in str(mail.get_payload())
    (told,) = alerts(client, limit=1)
    assert parsedate_to_datetime(mail["Date"]).timestamp() == int(told.at)
    assert mail["Message-ID"] == f"<alert.{told.id}@localhost>", "the same one, should it be sent again"


def test_a_mail_server_is_trusted_by_its_certificate_and_given_the_password_then(
    store_url: str, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forwarding, "REPEAT_SECONDS", 0.0)
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    given: list[Any] = []

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given.append((data.login, data.password))
        return AuthResult(success=data.password == b"right")

    email = alerting(free_port).email.model_copy(update={"starttls": True, "user": "ops"})
    client = connect(store_url)
    sending = Forwarder(client, "w1", channels(Alerting(email=email), None, "right"))
    sending.forward()
    raise_alert(client, ALERT)
    options = {"tls_context": context, "require_starttls": True, "authenticator": login, "auth_required": True}
    with mail_server(free_port, **options) as inbox:
        assert sending.forward() == 0, "nobody vouches for that certificate"
        assert (inbox.mails, given) == ([], [])
        assert "took no e-mail" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        eventually(lambda: sending.forward() == 1, within=20, what="it is tried again")
    assert (len(inbox.mails), given) == (1, [(b"ops", b"right")])


def test_a_channel_that_is_down_holds_up_no_other_and_is_tried_again_by_somebody_else(
    store_url: str, hook: Hook, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "REPEAT_SECONDS", 0.0)
    client = connect(store_url)
    sends = channels(alerting(free_port), hook.url, None)
    one, other = Forwarder(client, "w1", sends), Forwarder(client, "w2", sends)
    one.forward()
    raise_alert(client, ALERT)
    assert one.forward() == 1  # nobody listens on the mail server's port yet
    assert len(hook.bodies) == 1
    with mail_server(free_port) as inbox:
        assert other.forward() == 1
        assert (len(inbox.mails), len(hook.bodies)) == (1, 1)


def test_what_nobody_takes_is_given_up_and_a_redirect_is_not_followed(
    store_url: str, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "REPEAT_SECONDS", 0.0)
    client = connect(store_url)
    sending = Forwarder(client, "w1", channels(Alerting(webhook=alerting().webhook), hook.url, None))
    sending.forward()
    hook.status = 302
    raise_alert(client, ALERT)

    def given_up() -> bool:
        assert sending.forward() == 0
        return bool(client.xpending(keys.ALERTS, "webhook")["pending"] == 0)

    eventually(given_up, within=20, what="it is given up")
    assert hook.paths == ["/secret-path"] * ATTEMPTS


def test_alerts_that_were_dropped_before_they_were_sent_are_missed(
    store_url: str, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(store_url)
    sending = Forwarder(client, "w1", channels(Alerting(webhook=alerting().webhook), hook.url, None))
    sending.forward()
    for _ in range(3):
        raise_alert(client, ALERT)
    client.xtrim(keys.ALERTS, maxlen=1, approximate=False)
    later = Forwarder(client, "w2", channels(Alerting(webhook=alerting().webhook), hook.url, None))
    assert [later.forward(), later.forward()] == [1, 0]
    assert [record.message for record in caplog.records] == [
        "alerts were dropped before webhook has sent them: there were too many"
    ]


@pytest.mark.parametrize(
    "url", ["http://example.com/secret", "http://127.0.0.1@evil.example/secret", "file:///etc/passwd", "secret"]
)
def test_only_allowed_hosts_are_told_anything(url: str) -> None:
    with pytest.raises(SettingsError) as found:
        channels(alerting(), url, None)
    assert "ORCHESTRATOR_WEBHOOK_URL" in str(found.value)
    assert "secret" not in str(found.value)
    assert channels(Alerting(), None, None) == {}
