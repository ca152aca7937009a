"""What an agent hears and says, without a run."""

from __future__ import annotations

import pytest

from orchestrator import AgentContext
from orchestrator.engine.agent_messages import AgentMessages, Memory
from orchestrator.engine.runtime import message_limits
from orchestrator.errors import Cancelled
from orchestrator.messages.channel import Message
from orchestrator.settings import EngineSettings

INBOX = [
    Message(topic="a", data=1),
    Message(topic="b", data=2, to="other"),
    Message(topic="b", data=3),
    Message(topic="a", data=4, to="step"),
]


def test_each_message_that_is_meant_for_a_step_comes_once() -> None:
    ctx = AgentContext.for_test(inbox=INBOX)
    heard = [ctx.messages.receive("b", timeout=0)] + [ctx.messages.receive(timeout=0) for _ in range(3)]
    assert [event and event.data for event in heard] == [3, 1, 4, None]


def test_a_test_sees_what_an_agent_has_said() -> None:
    memory = Memory(INBOX)
    ctx = AgentContext.for_test(inbox=memory)
    assert ctx.messages.publish("news", {"a": 1}, to="x")
    assert memory.sent == [Message(topic="news", data={"a": 1}, to="x")]


def test_who_is_cancelled_waits_no_longer() -> None:
    messages = AgentMessages(Memory(), "step", lambda: True)
    with pytest.raises(Cancelled, match="'step'"):
        messages.receive()


def test_the_deployment_says_how_large_messages_are_and_how_many_are_kept() -> None:
    settings = EngineSettings.model_validate({"engine": {"message_bytes": "1KB", "messages_bytes": "1MB"}})
    limits = message_limits(settings)
    assert (limits.message, limits.keep, limits.bytes) == (1000, 250_000, 1_000_000)
    with pytest.raises(ValueError, match="write at least 400 times as much"):
        EngineSettings.model_validate({"engine": {"message_bytes": "1MB"}})
