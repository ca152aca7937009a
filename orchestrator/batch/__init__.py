"""Operations in batches: fewer round trips, commands and CPU time for many small ones, at a bounded delay for each."""

from orchestrator.batch.callers import GroupCommit, do_all
from orchestrator.batch.commands import Call, CommandRefused, Operation, once, pipelined, scripted
from orchestrator.batch.coroutines import AsyncBatchProcessor
from orchestrator.batch.lane import BatchError
from orchestrator.batch.policy import BatchLimits, ItemRetry
from orchestrator.batch.threads import BatchProcessor, Left, NotFlushed

__all__ = [
    "AsyncBatchProcessor",
    "BatchError",
    "BatchLimits",
    "BatchProcessor",
    "Call",
    "CommandRefused",
    "GroupCommit",
    "ItemRetry",
    "Left",
    "NotFlushed",
    "Operation",
    "do_all",
    "once",
    "pipelined",
    "scripted",
]
