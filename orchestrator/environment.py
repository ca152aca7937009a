"""The environment variables of this library, checked together at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError

from orchestrator.errors import Problem, SettingsError
from orchestrator.fields import Frozen
from orchestrator.problems import did_you_mean

if TYPE_CHECKING:
    from orchestrator.settings import EngineSettings

PREFIX = "ORCHESTRATOR_"
INTERNAL = frozenset({"ORCHESTRATOR_READY_FD"})
"""Set by our own processes for their children; not settings."""

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SCHEMES = ("redis", "rediss", "redis+socket", "unix", "sentinel", "valkey", "valkeys")
_MASK = "***"
TOKEN_CHARACTERS = 16


def mask_url(url: str) -> str:
    """A URL, or several with semicolons between, without passwords."""
    return ";".join(_masked(part) for part in url.split(";"))


def _masked(url: str) -> str:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return _MASK
    if password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{password}@", f":{_MASK}@", 1)))


def _checked_url(value: str) -> str:
    for url in value.split(";"):
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _SCHEMES or not rest:
            hint = "write one such as redis://localhost:6379/0, rediss://, redis+socket:/// or sentinel://"
            raise ValueError(f"this is no URL of a Redis server; {hint}")
        try:
            _ = urlsplit(url).port
        except ValueError as error:
            raise ValueError(f"{str(error).split(chr(39))[0].strip()}; write a number from 0 to 65535") from None
    return value


def _level(value: object) -> object:
    if isinstance(value, str) and value.upper() in _LEVELS:
        return value.upper()
    raise ValueError(f"{value!r} is no log level; write one of {', '.join(_LEVELS)}")


def _tokens(value: object) -> object:
    if not isinstance(value, str):
        return value
    tokens = [token.strip() for token in value.split(",")]
    if any(len(token) < TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() for token in tokens):
        raise ValueError(f"a token has less than {TOKEN_CHARACTERS} characters; make one: openssl rand -hex 16")
    return tuple(SecretStr(token) for token in tokens)


def _module(value: str) -> str:
    if value and all(part.isidentifier() for part in value.replace(":", ".").split(".")):
        return value
    raise ValueError(f"{value!r} is no Python module; write one such as config.celery_app")


Url = Annotated[str, AfterValidator(_checked_url)]


class Environment(Frozen):
    """What the environment says. A URL that is None means the embedded server; the result store defaults to the store.

    `engine_file` is None when neither the variable nor config/engine.yaml is there.
    """

    broker_url: Url | None = None
    store_url: Url | None = None
    result_url: Url | None = None
    home: Path = Path(".orchestrator")
    app: Annotated[str, AfterValidator(_module)] = "config.celery_app"
    engine_file: Path | None = None
    log_level: Annotated[str, BeforeValidator(_level)] = "INFO"
    webhook_url: str | None = None
    smtp_password: str | None = None
    api_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(_tokens)] = ()

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, *, folder: Path | None = None, strict: bool = True
    ) -> Environment:
        """Read ORCHESTRATOR_* variables; an empty one counts as not set. Raises SettingsError with every mistake.

        `environ` is os.environ unless given; `folder` is where config/engine.yaml is looked for, by default here.
        Workers are not `strict`: a platform may set variables of its own, which they only report.
        """
        given = os.environ if environ is None else environ
        known = cls._known()
        problems = unknown_variables(given) if strict else []
        values: dict[str, Any] = {known[name]: value for name, value in given.items() if name in known and value}
        default_engine = (folder or Path()) / "config" / "engine.yaml"
        if "engine_file" not in values and default_engine.is_file():
            values["engine_file"] = default_engine
        try:
            environment = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError([*problems, *_told(error)]) from None
        problems += environment._missing_files()
        if problems:
            raise SettingsError(problems)
        return environment

    @classmethod
    def _known(cls) -> dict[str, str]:
        return {PREFIX + field.upper(): field for field in cls.model_fields}

    @property
    def is_embedded(self) -> bool:
        """Whether no server was named, so that one of our own is started."""
        return self.broker_url is None and self.store_url is None

    def engine(self) -> EngineSettings:
        """The settings of `engine_file`, or the defaults. Raises InvalidDocument with every mistake in the file."""
        from orchestrator.settings import EngineSettings, load_engine

        return load_engine(self.engine_file) if self.engine_file is not None else EngineSettings()

    def masked(self) -> dict[str, str]:
        """Variable name -> value, without passwords; what is not set is left out."""
        values = {PREFIX + name.upper(): getattr(self, name) for name in type(self).model_fields}
        return {
            name: _shown(name, str(value))
            for name, value in values.items()
            if value not in (None, ())
        }

    def _missing_files(self) -> list[Problem]:
        if self.engine_file is not None and not self.engine_file.is_file():
            return [Problem(f"{PREFIX}ENGINE_FILE", f"there is no file {self.engine_file}", source="environment")]
        return []


def _shown(name: str, value: str) -> str:
    """Whoever knows the URL of a webhook may use it: no part of it is shown."""
    if name.endswith(("_TOKENS", "_PASSWORD", "_WEBHOOK_URL")):
        return _MASK
    return mask_url(value) if name.endswith("_URL") else value


def unknown_variables(environ: Mapping[str, str]) -> list[Problem]:
    """ORCHESTRATOR_* variables that are set and mean nothing, each with the one that may have been meant."""
    known = Environment._known()
    return [
        Problem(name, "unknown environment variable", did_you_mean(name, known), source="environment")
        for name, value in environ.items()
        if name.startswith(PREFIX) and value and name not in known and name not in INTERNAL
    ]


def _told(error: ValidationError) -> list[Problem]:
    """Messages that name the variable and never show a value that may hold a password."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        message, _, hint = str(detail.get("ctx", {}).get("error", detail["msg"])).partition("; ")
        problems.append(Problem(PREFIX + str(detail["loc"][0]).upper(), message, hint, source="environment"))
    return problems
