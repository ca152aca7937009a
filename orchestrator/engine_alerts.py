"""The engine file's block on alerts: whom they are sent to. What is secret comes from the environment."""

import re
from typing import Annotated

from pydantic import AfterValidator

from orchestrator.fields import Frozen, PositiveCount, Seconds, shared_default


def _shaped(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"found '{value}'; write {what}")
        return value

    return AfterValidator(check)


Host = Annotated[str, _shaped(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?", "a host such as hooks.example.com, or host:port")]
Address = Annotated[str, _shaped(r"[^@\s<>]+@[^@\s<>]+", "an address such as ops@example.com")]


class WebhookSettings(Frozen):
    """Alerts are posted as JSON to ORCHESTRATOR_WEBHOOK_URL, if its host (or host:port) is allowed here."""

    allowed_hosts: tuple[Host, ...] = ()
    timeout: Seconds = 5.0


class EmailSettings(Frozen):
    """Alerts are sent from `sender` to `recipients`; without those, none. The password of `user` is
    ORCHESTRATOR_SMTP_PASSWORD."""

    host: str = "localhost"
    port: PositiveCount = 587
    starttls: bool = True
    user: str = ""
    sender: Address = "orchestrator@localhost"
    recipients: tuple[Address, ...] = ()
    timeout: Seconds = 5.0


class Alerting(Frozen):
    """Where alerts go beside the log and the store."""

    webhook: WebhookSettings = shared_default(WebhookSettings)
    email: EmailSettings = shared_default(EmailSettings)
