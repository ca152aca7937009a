"""Alerts on their way to people: each channel is a consumer group of the stream, so that one worker sends each alert,
another one repeats what could not be sent, and a channel that is down holds up none of the others."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import redis
from redis.exceptions import ResponseError

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine_alerts import Alerting, EmailSettings, WebhookSettings
from orchestrator.errors import OrchestratorError, Problem, SettingsError
from orchestrator.metrics.alerts import Alert, read

AT_ONCE = 20
REPEAT_SECONDS = 30.0
"""An alert that could not be sent is tried again after this, by whoever looks then."""
ATTEMPTS = 5
"""After so many it is given up, and stays in the stream."""

Send = Callable[[Alert], None]
log = logging.getLogger("orchestrator")


class NotSent(OrchestratorError):
    """A channel did not take an alert."""


def channels(settings: Alerting, webhook_url: str | None, password: str | None) -> Mapping[str, Send]:
    """The channels that are configured, by name. Raises SettingsError when the webhook's host is not allowed."""
    found: dict[str, Send] = {}
    if webhook_url:
        check_url(webhook_url, settings.webhook)
        found["webhook"] = lambda alert: post(webhook_url, settings.webhook, alert)
    if settings.email.recipients:
        found["email"] = lambda alert: mail(settings.email, password, alert)
    return found


def check_url(url: str, settings: WebhookSettings) -> None:
    """Raises SettingsError with what would be right. The path may be a secret and is never shown."""
    parts = urlsplit(url)
    hosts = {parts.hostname or "", parts.netloc.rpartition("@")[2]}
    if parts.scheme not in ("http", "https"):
        problem = "this is no URL of a webhook", "write one such as https://hooks.example.com/..."
    elif not hosts & set(settings.allowed_hosts):
        known = ", ".join(settings.allowed_hosts) or "none"
        problem = f"the host {parts.hostname} is not allowed", f"alerting.webhook.allowed_hosts names {known}"
    else:
        return
    raise SettingsError([Problem("ORCHESTRATOR_WEBHOOK_URL", *problem, source="environment")])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Elsewhere nobody has allowed."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:
        raise urllib.error.HTTPError(req.full_url, code, "redirects are not followed", headers, fp)


def post(url: str, settings: WebhookSettings, alert: Alert) -> None:
    """One alert as JSON. Raises NotSent for anything but a 2xx answer in time."""
    body = json.dumps({**alert.model_dump(mode="json"), "text": f"{alert.severity}: {alert.message}"}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=settings.timeout):
            pass
    except (OSError, ValueError) as error:
        reason = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        raise NotSent(f"the webhook at {urlsplit(url).hostname} took no alert: {reason}") from error


def mail(settings: EmailSettings, password: str | None, alert: Alert) -> None:
    """One alert as an e-mail. Raises NotSent."""
    import smtplib
    import ssl
    from email.message import EmailMessage

    message = EmailMessage()
    message["Subject"] = " ".join(f"[orchestrator] {alert.severity}: {alert.message}".split())[:200]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.recipients)
    facts = {name: value for name, value in alert.model_dump(mode="json").items() if value}
    message.set_content("\n".join(f"{name}: {value}" for name, value in facts.items()))
    try:
        with smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout) as server:
            if settings.starttls:
                server.starttls(context=ssl.create_default_context())
            if settings.user:
                server.login(settings.user, password or "")
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"{settings.host}:{settings.port} took no e-mail: {error}") from error


class Forwarder:
    """One worker's part. Does nothing, and asks nothing, without channels."""

    def __init__(self, client: redis.Redis, consumer: str, sends: Mapping[str, Send]) -> None:
        self._client, self._consumer, self._sends = client, consumer, sends
        self._looks = 0

    def begin(self) -> None:
        """Alerts from now on are sent; those before the first worker with this channel are not."""
        for name in self._sends:
            try:
                self._client.xgroup_create(keys.ALERTS, name, id="$", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def forward(self) -> int:
        """Send what is new, and what somebody else could not send; how many were sent."""
        sent = 0
        for name, send in self._sends.items():
            with guarded():
                if not self._looks:
                    self.begin()
            entries = self._left(name)
            with guarded():
                fresh: Any = self._client.xreadgroup(name, self._consumer, {keys.ALERTS: ">"}, count=AT_ONCE)
            entries += [entry for _, listed in fresh for entry in listed]
            sent += sum(self._send(name, send, entry, fields) for entry, fields in entries)
        self._looks += 1
        return sent

    def _left(self, name: str) -> list[tuple[bytes, Any]]:
        with guarded():
            waiting: Any = self._client.xpending_range(
                keys.ALERTS, name, "-", "+", AT_ONCE, idle=int(REPEAT_SECONDS * 1000)
            )
            given_up = [one["message_id"] for one in waiting if one["times_delivered"] >= ATTEMPTS]
            again = [one["message_id"] for one in waiting if one["times_delivered"] < ATTEMPTS]
            if given_up:
                log.error("%d alerts could not be sent by %s and are given up", len(given_up), name)
                self._client.xack(keys.ALERTS, name, *given_up)
            idle = int(REPEAT_SECONDS * 1000)
            claimed: Any = self._client.xclaim(keys.ALERTS, name, self._consumer, idle, again) if again else []
            return [(entry, fields) for entry, fields in claimed if fields]

    def _send(self, name: str, send: Send, entry: bytes, fields: Any) -> bool:
        try:
            send(read(entry, fields))
        except NotSent as error:
            log.warning("alert %s: %s; it is tried again", entry.decode(), error)
            return False
        with guarded():
            self._client.xack(keys.ALERTS, name, entry)
        return True
