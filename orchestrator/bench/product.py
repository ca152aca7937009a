"""The documents' workflow with sleeping agents, beside raw Celery's hand-written chain and chord, in turn.

Measured is the overhead over the critical path, from client to client. About one second stands for ten minutes: analyst
0.3, pm 0.4, ux_expert 0.5 beside architect 0.6, developer 0.8, qa 0.4; critical path 2.5 s. As in the documents, each
step has an estimate of what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.bench.frame import Setting
from orchestrator.bench.results import Measure
from orchestrator.bench.sides import all_peers, definition
from orchestrator.workflow.models import WorkflowSpec

SECONDS = {"analyst": 0.3, "pm": 0.4, "ux_expert": 0.5, "architect": 0.6, "developer": 0.8, "qa": 0.4}
DESIGNERS = ("ux_expert", "architect")
CRITICAL_PATH = 2.5


def workflow(scale: float = 1.0) -> WorkflowSpec:
    """The product workflow of the documents, with `sleep` for every agent; `scale` makes it quicker or slower."""

    def step(name: str, *needs: str) -> dict[str, object]:
        seconds = SECONDS[name] * scale
        given = {"id": name, "agent": "sleep", "with": {"seconds": seconds}, "needs": list(needs)}
        return given | {"estimated_duration": seconds}

    design = {"agents": [step(name) for name in DESIGNERS], "dependencies": ["pm"], "parallel_capable": True}
    steps = [step("analyst"), step("pm", "analyst"), step("developer", *DESIGNERS), step("qa", "developer")]
    return definition("product", *steps, execution_groups={"design": design})


def measure(setting: Setting) -> Iterator[Measure]:
    """Overheads of both, and what the same workflow takes when its steps run one after another."""
    spec = workflow()
    with all_peers(setting) as sides:
        yield from sides.compare(
            "overhead over the critical path",
            lambda: sides.run(spec),
            lambda peer: peer.product(SECONDS),
            lambda seconds: (seconds - CRITICAL_PATH) * 1000,
        )
        yield sides.beside_sequential(spec)
