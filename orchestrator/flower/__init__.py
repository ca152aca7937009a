"""Workflows in the stock Flower: pages and an HTTP API beside its own, under its authentication and URL prefix.

In a `flowerconfig.py`, which Flower runs before it starts:

    from orchestrator import flower

    flower.install()
"""

from __future__ import annotations


def install() -> None:
    """Add the *Workflows* tab, its pages and `/api/workflows` to the Flower that starts in this process."""
    from flower import urls

    from orchestrator.flower.routes import routes
    from orchestrator.flower.templating import Templates

    if isinstance(urls.settings.get("template_loader"), Templates):
        return
    urls.handlers[-1:-1] = routes()  # before the last one, which answers whatever nobody else does
    urls.settings["template_loader"] = Templates(urls.settings["template_path"])
    urls.settings["xsrf_cookie_kwargs"] = {"samesite": "Strict"}
