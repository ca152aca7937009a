"""The ways on which alerts get to people, and which of them a deployment has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from orchestrator.engine_alerts import Alerting, WebhookSettings
from orchestrator.errors import OrchestratorError, Problem, SettingsError
from orchestrator.metrics.alerts import Alert

Send = Callable[[Alert], None]


class NotSent(OrchestratorError):
    """A channel did not take an alert."""


def channels(settings: Alerting, webhook_url: str | None, password: str | None) -> Mapping[str, Send]:
    """The channels that are configured, by name. Raises SettingsError when the webhook's host is not allowed."""
    if not webhook_url and not settings.email.recipients:
        return {}
    from orchestrator.metrics import sending  # two protocols, which every other worker starts without

    found: dict[str, Send] = {}
    if webhook_url:
        check_url(webhook_url, settings.webhook)
        found["webhook"] = lambda alert: sending.post(webhook_url, settings.webhook, alert)
    if settings.email.recipients:
        found["email"] = lambda alert: sending.mail(settings.email, password, alert)
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
