"""The composition root. Flower and `inspect` run as `celery -A config.celery_app ...`, as workers and beat may, which
`python -m orchestrator.engine config.celery_app worker|beat ...` starts sooner."""

from __future__ import annotations

from pathlib import Path

import tasks  # noqa: F401 - registers the agents
from orchestrator.engine.app import create_app
from orchestrator.settings import Environment, load_engine

HERE = Path(__file__).resolve().parent
LOCAL_REDIS = "redis://127.0.0.1:6379/0"

environment = Environment.load(strict=False)
store = environment.store_url or environment.broker_url or LOCAL_REDIS
app = create_app(
    environment.broker_url or store,
    store,
    load_engine(environment.engine_file or HERE / "engine.yaml"),
    results=environment.result_url,
    workflows=sorted((HERE / "workflows").glob("*.yaml")),
    templates=[HERE.parent / "tasks" / "templates"],
)
