"""Celery's messages in batches: handlers for `orchestrator.batch` over kombu's `Producer.batch`.

kombu sends a batch in one round trip and cannot say what of it has arrived when that breaks: then all of it is sent
again. Delivery is at least once, as it is anyway; of our own steps each is claimed once, however many messages there
are of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from celery import Celery, Signature
from kombu import exceptions
from redis.exceptions import RedisError

from orchestrator.batch.callers import do_all
from orchestrator.batch.policy import ItemRetry
from orchestrator.batch.threads import Handler
from orchestrator.engine.canvas import chords, publish_chord, segment
from orchestrator.engine.mail import Rendered
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.errors import StoreUnavailable

AT_ONCE = ItemRetry(maximum_attempts=1)
T = TypeVar("T")
R = TypeVar("R")
_LOST: type[Exception] = getattr(exceptions, "BatchPublishError")  # noqa: B009 - that module's types do not name it
_BROKEN = (_LOST, exceptions.OperationalError, exceptions.LimitExceeded, RedisError, OSError)
"""What the broker or the way to it is to blame for; anything else is the message's own."""
Released = tuple[str, Mapping[str, Any]]
"""A run, and the definition of a step of it that was released."""


def publish(app: Celery, run_id: str, released: Sequence[Mapping[str, Any]]) -> None:
    """Send what a transition released. An error is logged, not raised: the state is stored, a sweep publishes it."""
    publish_all(app, [(run_id, released)])


def publish_all(app: Celery, parts: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
    """The same for several runs, each with what was released of it.

    Single tasks and chains go to the broker in batches; Celery sends chords by itself. When it is not known what of a
    batch has arrived, Celery sends all of it again, one by one, with its own patience.
    """
    single: list[Released] = []
    for run_id, released in parts:
        for members in chords(released):
            if len(members) > 1:
                _logged(run_id, publish_chord, app, run_id, members)
            else:
                single.append((run_id, members[0]))
    if not single:
        return
    outcomes = do_all(steps(app), single, retry=AT_ONCE)
    failed = [(one, outcome) for one, outcome in zip(single, outcomes, strict=True) if outcome is not None]
    if failed:
        log.warning("%d messages may not have been sent, they are sent again: %s", len(failed), failed[0][1])
    for (run_id, definition), _ in failed:
        _logged(run_id, lambda one=definition, run=run_id: segment(app, run, one).apply_async())


def _logged(run_id: str, send: Callable[..., object], *arguments: Any) -> None:
    try:
        send(*arguments)
    except Exception:  # noqa: BLE001 - of broker, transport or store alike
        log.exception("run %s: could not publish; the sweep will", run_id)


def published(app: Celery) -> Handler[Signature[Any], Any]:
    """Tasks, as signatures, of any Celery application. What comes of each is its AsyncResult, or why it alone was not
    sent, such as an argument that is no JSON."""

    def send(producer: Any, signature: Signature[Any]) -> Any:
        return signature.apply_async(producer=producer, retry=False)

    return lambda signatures: _batch(app, signatures, send)


def steps(app: Celery) -> Handler[Released, None]:
    """Steps and chains that were released, as single messages: rendered once by Celery, and filled in from then on.
    While somebody listens to what Celery sends, Celery itself does."""
    render = runtime_of(app).render

    def send(producer: Any, released: Released) -> None:
        run_id, definition = released
        found = render(run_id, definition)
        if found is None:
            segment(app, run_id, definition).apply_async(producer=producer, retry=False)
        else:
            _publish(producer, found)

    return lambda released: _batch(app, released, send)


def _publish(producer: Any, message: Rendered) -> None:
    producer.publish(
        message.body, exchange="", routing_key=message.queue, priority=message.priority, serializer="json",
        headers=message.headers, delivery_mode=message.delivery_mode, correlation_id=message.task, reply_to="",
    )  # fmt: skip


def _batch(app: Celery, items: Sequence[T], send: Callable[[Any, T], R]) -> list[R | BaseException]:
    outcomes: list[R | BaseException] = []
    try:
        with app.producer_or_acquire() as producer, producer.batch():
            for item in items:
                try:
                    outcomes.append(send(producer, item))
                except _BROKEN:
                    raise
                except Exception as error:  # noqa: BLE001 - of this message alone
                    outcomes.append(error)
    except _BROKEN as error:
        raise StoreUnavailable(f"nobody knows what of {len(items)} messages has reached the broker: {error}") from error
    return outcomes
