"""What kind of constraint a sentence is, and which technologies it asks for or forbids."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from msgspec import Struct

from tasks.reading import language


class Technology(Struct, frozen=True):
    name: str
    layer: str
    pattern: str


TECHNOLOGIES: Final[tuple[Technology, ...]] = tuple(
    Technology(*entry)
    for entry in (
        ("PostgreSQL", "database", r"postgres(?:ql)?|postgis"),
        ("MySQL", "database", r"mysql"),
        ("MariaDB", "database", r"mariadb"),
        ("SQLite", "database", r"sqlite"),
        ("Oracle Database", "database", r"Oracle"),
        ("Microsoft SQL Server", "database", r"(?:microsoft |ms )?sql server|mssql"),
        ("MongoDB", "database", r"mongo(?:db)?"),
        ("DynamoDB", "database", r"dynamodb"),
        ("Redis", "cache", r"redis|valkey"),
        ("RabbitMQ", "messaging", r"rabbitmq"),
        ("Kafka", "messaging", r"kafka"),
        ("MQTT", "messaging", r"mqtt"),
        ("Python", "backend", r"python"),
        ("Django", "backend", r"django"),
        ("FastAPI", "backend", r"fastapi"),
        ("Flask", "backend", r"Flask"),
        ("Java", "backend", r"Java"),
        ("Spring Boot", "backend", r"spring boot"),
        ("Kotlin", "backend", r"kotlin"),
        (".NET with C#", "backend", r"\.net|c#|c-sharp|asp\.net"),
        ("Node.js", "backend", r"node(?:\.?js)"),
        ("Go", "backend", r"golang|go (?:service|backend)"),
        ("Rust", "backend", r"Rust"),
        ("PHP", "backend", r"php|laravel"),
        ("Ruby on Rails", "backend", r"Ruby|Rails"),
        ("Elixir", "backend", r"Elixir"),
        ("Celery", "workers", r"Celery"),
        ("TypeScript", "frontend", r"typescript"),
        ("React", "frontend", r"React(?:\.?[jJ][sS])?"),
        ("Vue", "frontend", r"Vue(?:\.?[jJ][sS])?"),
        ("Angular", "frontend", r"Angular"),
        ("Svelte", "frontend", r"Svelte"),
        ("HTMX", "frontend", r"htmx"),
        ("Flutter", "frontend", r"Flutter"),
        ("Native Android app", "frontend", r"android app"),
        ("Native iOS app", "frontend", r"ios app"),
        ("AWS", "hosting", r"aws|amazon web services"),
        ("Azure", "hosting", r"azure"),
        ("Google Cloud", "hosting", r"google cloud|gcp"),
        ("Hetzner", "hosting", r"hetzner"),
        ("On-premises servers", "hosting", r"on[- ]premises?|on[- ]prem|own servers?"),
        ("Kubernetes", "hosting", r"kubernetes|k8s|openshift"),
        ("Docker", "hosting", r"docker(?: compose)?|podman"),
        ("Windows Server", "hosting", r"windows servers?"),
        ("Linux", "hosting", r"linux|debian|ubuntu|rhel"),
        ("Raspberry Pi", "hosting", r"raspberry pi"),
        ("Public cloud", "hosting", r"(?:public|us|american) cloud"),
        ("Keycloak", "identity", r"keycloak"),
        ("Active Directory", "identity", r"active directory|entra id"),
        ("LDAP", "identity", r"ldap"),
        ("SAML", "identity", r"SAML"),
        ("OpenID Connect", "identity", r"openid(?: connect)?|oidc|oauth2?"),
        ("S3-compatible object store", "files", r"s3|minio|object stor(?:e|age)"),
        ("Elasticsearch", "search", r"elastic(?:search)?|opensearch"),
        ("SAP", "integration", r"SAP"),
        ("Salesforce", "integration", r"salesforce"),
        ("Stripe", "integration", r"Stripe"),
        ("PayPal", "integration", r"paypal"),
        ("SEPA", "integration", r"SEPA"),
        ("HL7 FHIR", "integration", r"fhir|hl7"),
        ("LoRaWAN", "integration", r"lora(?:wan)?"),
        ("Prometheus", "operations", r"prometheus"),
        ("Grafana", "operations", r"grafana"),
    )
)
_BY_NAME: Final = {technology.name: technology for technology in TECHNOLOGIES}
_NEGATION: Final = (
    r"(?i)\b(?:no|not|without|never|avoid|instead of|rather than|must not|cannot|can't|don't|nor|replaces?|ageing"
    r"|except)\b(?:\s+[\w'-]+){0,3}\s*\(?\s*$"
)

_CATEGORIES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("budget and time", ("budget", "go-live", "goes live", "go live", "deadline for", "eur for", "cost", "launch")),
    (
        "offline use",
        (
            "offline",
            "without reception",
            "without it",
            "synchronis",
            "synchroniz",
            "no connection",
            "without network",
            "without internet",
        ),
    ),
    ("retention", ("kept for", "retention", "retain", "archive", "erased", "deleted after", "records are kept")),
    (
        "security and privacy",
        (
            "gdpr",
            "personal data",
            "encrypt",
            "privacy",
            "security",
            "password",
            "sign in",
            "sign-in",
            "signs in",
            "log in",
            "login",
            "single sign-on",
            "sso",
            "authenticat",
            "authoriz",
            "authoris",
            "hipaa",
            "role",
            "audit",
            "two-factor",
            "leaves the country",
        ),
    ),
    ("accessibility", ("wcag", "accessib", "screen reader", "large type", "blind", "contrast")),
    ("availability", ("availab", "uptime", "downtime", "24/7", "failover", "backup", "recover")),
    (
        "performance",
        (
            "load in",
            "seconds",
            "second",
            "millisecond",
            " ms",
            "respond",
            "answer in",
            "latency",
            "fast",
            "throughput",
            "per second",
            "response time",
        ),
    ),
    (
        "platform",
        ("phone", "desktop", "browser", "tablet", "mobile", "android", "ios", "monitor", "screen", "keyboard"),
    ),
    (
        "capacity",
        ("at the same time", "concurrent", "simultaneous", "users", "requests", "records", "up to", "people work"),
    ),
    ("data", ("database", "sql", "schema", "data format", "csv", "json", "storage")),
    ("integration", ("exchanged with", "integrat", "interface to", "api of", "connects to", "import from", "sap")),
    (
        "hosting",
        (
            "hosted",
            "hosting",
            "on premises",
            "on-premises",
            "server",
            "cloud",
            "runs on",
            "data centre",
            "data center",
            "country",
        ),
    ),
    (
        "language",
        ("translated", "multilingual", "in english", "in german", "in french", "localis", "localiz", "languages"),
    ),
    ("maintenance", ("maintain", "developers", "open source", "licence", "license", "python", "documented", "team")),
)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[Technology, re.Pattern[str]], ...]:
    """A pattern with a capital is matched with its case: React is a library, and people react."""
    return tuple(
        (
            known,
            re.compile(
                rf"(?<![\w.#-])(?:{known.pattern})(?![\w#])",
                0 if re.search(r"[A-Z]", known.pattern) else re.IGNORECASE,
            ),
        )
        for known in TECHNOLOGIES
    )


def technology(name: str) -> Technology | None:
    """The technology of that name, if it is one of the known ones."""
    return _BY_NAME.get(name)


def find_technologies(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the technologies that a text asks for, and of those that it forbids ("no AWS")."""
    used: list[tuple[int, str]] = []
    excluded: list[tuple[int, str]] = []
    for known, pattern in _patterns():
        match = pattern.search(text)
        if match:
            clause = re.split(r"[.;:]\s", text[: match.start()])[-1]
            (excluded if re.search(_NEGATION, clause) else used).append((match.start(), known.name))
    return tuple(name for _, name in sorted(used)), tuple(name for _, name in sorted(excluded))


def constraint_category(text: str) -> str:
    """The first kind of constraint whose words the text has; "general" if none."""
    lower = f" {text.lower()} "
    return next((name for name, parts in _CATEGORIES if any(part in lower for part in parts)), "general")


def is_technical(text: str) -> bool:
    """Whether a constraint binds the solution (technology, quality) rather than the project (money, time, people)."""
    if constraint_category(text) == "budget and time":
        return False
    used, excluded = find_technologies(text)
    return (
        bool(used or excluded)
        or constraint_category(text) not in ("general", "maintenance")
        or language.mentions(text, ("system", "interface", "data", "server"))
    )
