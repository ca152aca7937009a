"""The way in from any Python service: submit workflows, watch them, fetch what they made. Needs Redis URLs only."""

from orchestrator.client.asynchronous import AsyncClient, AsyncRunHandle
from orchestrator.client.batches import Submission
from orchestrator.client.blocking import Client
from orchestrator.client.handle import RunHandle

__all__ = ["AsyncClient", "AsyncRunHandle", "Client", "RunHandle", "Submission"]
