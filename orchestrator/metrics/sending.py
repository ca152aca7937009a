"""An alert by webhook, and by e-mail."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

from orchestrator.engine_alerts import EmailSettings, WebhookSettings
from orchestrator.metrics.alerts import Alert
from orchestrator.metrics.forwarding import NotSent


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
    message = EmailMessage()
    message["Subject"] = " ".join(f"[orchestrator] {alert.severity}: {alert.message}".split())[:200]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.recipients)
    message["Date"] = formatdate(alert.at or None)
    # The same for an alert that is sent again after a crash: mail programs show it once.
    message["Message-ID"] = f"<alert.{alert.id or uuid4().hex}@{settings.sender.rpartition('@')[2]}>"
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
