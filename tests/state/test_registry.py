"""What workers publish of their deployment's workflow files, and when they read them again."""

from __future__ import annotations

from pathlib import Path

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.engine import registry
from orchestrator.engine.runtime import Runtime
from orchestrator.settings import EngineSettings
from tests.conftest import Store

TEA = "name: tea\nsteps:\n  - {id: kettle, agent: noop}\n"


def test_files_are_read_again_when_they_have_changed_or_one_has_a_mistake(store: Store, tmp_path: Path) -> None:
    client, runtime = connect(store.url), Runtime(store.url, EngineSettings())
    tea, soup = tmp_path / "tea.yaml", tmp_path / "soup.yaml"

    def started() -> set[bytes]:
        """The workflows that another worker registers which starts."""
        client.delete(keys.WORKFLOWS)
        registry.publish(runtime, (), [tea, soup])
        return set(client.hkeys(keys.WORKFLOWS))  # type: ignore[arg-type]

    tea.write_text(TEA)
    soup.write_text(TEA.replace("tea", "soup") + "descripton: hot\n")
    assert started() == {b"tea"}
    assert started() == {b"tea"}, "the mistake is told of again"
    soup.write_text(TEA.replace("tea", "soup"))
    assert started() == {b"tea", b"soup"}
    assert started() == set(), "both are known"
    tea.write_text(TEA + "description: hot\n")
    assert started() == {b"tea", b"soup"}
    soup.unlink()
    assert started() == {b"tea"}
