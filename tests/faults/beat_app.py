"""An application with a quick schedule, whose messages nobody takes."""

from __future__ import annotations

from pathlib import Path

from orchestrator.engine.app import create_app
from orchestrator.engine.routing import agent_queue
from orchestrator.settings import EngineSettings, Environment, Runtime

LOCK_TIMEOUT = 5
EVERY = 0.3
QUEUE, STALE = "ticks", "stale"

WORKFLOW = Path(__file__).parents[1] / "fixtures" / "yearly.yaml"

store = Environment.load().store_url or ""
settings = EngineSettings(engine=Runtime(beat_lock_timeout=LOCK_TIMEOUT))
app = create_app(store, store, settings, workflows=[WORKFLOW])
tick = {"task": "orchestrator.sweep", "schedule": EVERY}
app.conf.beat_schedule = {
    "tick": tick | {"options": {"queue": QUEUE, "priority": 0}},
    "sweep": tick | {"options": {"queue": agent_queue("drills"), "priority": 0, "expires": 1}},
    "stale": tick | {"options": {"queue": STALE, "priority": 0, "expires": 1}},
}
