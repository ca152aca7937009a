"""The local stack: a real Valkey server and real Celery workers that live exactly as long as they are needed.

`Stack` is what a command holds. It talks to a guardian process, which starts the others, restarts what exits
and ends everything when the command is done, is interrupted or is killed.
"""

from __future__ import annotations

from orchestrator.embedded.stack import Stack, StackOptions

__all__ = ["Stack", "StackOptions"]
