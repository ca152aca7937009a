"""Workflows in the stock Flower: pages and an HTTP API beside its own, under its authentication and URL prefix.

In a `flowerconfig.py`, which Flower runs before it starts:

    from orchestrator import flower

    flower.install()
"""

from __future__ import annotations


def install() -> None:
    """Add the *Workflows* tab, its pages and `/api/workflows` to the Flower that starts in this process, and the
    queues to its `/metrics`."""
    from flower import urls
    from prometheus_client import REGISTRY

    from orchestrator.engine.backlog import Backlog
    from orchestrator.flower.routes import routes
    from orchestrator.flower.templating import Templates

    if isinstance(urls.settings.get("template_loader"), Templates):
        return
    urls.handlers[-1:-1] = routes()  # before the last one, which answers whatever nobody else does
    urls.settings["template_loader"] = Templates(urls.settings["template_path"])
    REGISTRY.register(Backlog(_urls))
    urls.settings["xsrf_cookie_kwargs"] = {"samesite": "Strict"}


def _urls() -> tuple[str, str]:
    """Broker and store of the application that Flower watches, which is the current one."""
    from celery import current_app

    from orchestrator.flower.service import Service

    client = Service(current_app).client
    return client.broker_url, client.store_url
