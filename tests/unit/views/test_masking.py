"""What is hidden, and what is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.settings import EngineSettings
from orchestrator.views.masking import Mask

MASK = Mask(EngineSettings().engine.masked_names)


@pytest.mark.parametrize(
    "name", ["password", "DB_PASSWORD", "api-key", "ApiKey", "client_secret", "access_token", "Authorization", "token"]
)
def test_names_that_hide(name: str) -> None:
    assert MASK.hides(name)


@pytest.mark.parametrize("name", ["tokens", "design_tokens", "token_count", "key", "author"])
def test_names_that_do_not(name: str) -> None:
    assert not MASK.hides(name)


def test_hidden_at_any_depth_and_below_a_hidden_section() -> None:
    value: Any = {"users": [{"name": "a", "password": "p"}], "api_key": {"left": 1}, "n": 1}
    assert MASK.value(value) == {"users": [{"name": "a", "password": "***"}], "api_key": "***", "n": 1}
    assert MASK.shown("pm.credentials.left", "visible").value == "***"
    assert MASK.shown("pm.name", "visible").value == "visible"
    assert value["users"][0]["password"] == "p", "the value itself stays"


def test_a_large_value_is_cut_after_it_was_masked() -> None:
    shown = MASK.shown("a", {"password": "p" * 50, "text": "ä" * 100}, limit=60)
    whole = json.dumps({"password": "***", "text": "ä" * 100}, ensure_ascii=False)
    assert (shown.value, shown.bytes, shown.beginning) == (None, len(whole.encode()), whole[:60])


def test_a_deployment_may_mask_nothing() -> None:
    assert Mask(()).value({"password": "p"}) == {"password": "p"}
