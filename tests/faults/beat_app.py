"""An application with a quick schedule, whose messages nobody takes."""

from __future__ import annotations

from orchestrator.engine.app import create_app
from orchestrator.settings import EngineSettings, Environment, Runtime

LOCK_TIMEOUT = 2
EVERY = 0.3
QUEUE = "ticks"

store = Environment.load().store_url or ""
app = create_app(store, store, EngineSettings(engine=Runtime(beat_lock_timeout=LOCK_TIMEOUT)))
app.conf.beat_schedule = {
    "tick": {"task": "orchestrator.sweep", "schedule": EVERY, "options": {"queue": QUEUE, "priority": 0}}
}
