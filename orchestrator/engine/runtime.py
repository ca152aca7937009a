"""What the tasks of one Celery application share: where the store is, the ledger over it, and the settings."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery
from msgspec import Struct, field

from orchestrator import keys
from orchestrator.cache.levels import Level, rules_of
from orchestrator.cache.store import Cache
from orchestrator.connection import connect, connect_blocking, guarded
from orchestrator.context.lock_models import LockRules
from orchestrator.context.locks import CHECK, EXTEND, LOCKS, Locks
from orchestrator.context.scripts import JOIN, SNAPSHOT, UNDO
from orchestrator.context.segments import Segments
from orchestrator.context.store import ContextStore
from orchestrator.engine.notices import Notices
from orchestrator.engine.samples import Samples
from orchestrator.engine.templates import Templates
from orchestrator.messages.channel import MessageLimits
from orchestrator.metrics.policy import Tuning
from orchestrator.resources.store import Pools
from orchestrator.run.expansions import Expansions, ExpansionScripts
from orchestrator.run.store import Ledger
from orchestrator.run.transitions import BASE, FLOW, GO_ON, NO_MAIL, TAKE_BACK, Transitions, in_run, lua, of_any_run
from orchestrator.run.waiting import Waiters
from orchestrator.scripts import Script

if TYPE_CHECKING:
    from orchestrator.engine.fleet import FleetMember
    from orchestrator.engine.mail import Rendered
    from orchestrator.settings import EngineSettings


@cache
def transitions(mail: str = NO_MAIL) -> Transitions:
    """What rooms do together happens at once or not at all: an attempt is granted with the version of the context that
    it reads; it ends, its writes are committed, its locks are free; a barrier merges branches, releases its consumers.

    `mail` is the Lua with which what is released leaves in the same moment.
    """
    moving = partial(Script, LOCKS, SNAPSHOT, FLOW, within=f"{mail}\n{BASE}")
    going_on = f"{in_run(SNAPSHOT)}\n{GO_ON}"
    return Transitions(
        create=moving(lua("marks"), lua("create")),
        claim=Script(SNAPSHOT, lua("take"), lua("claim"), within=BASE),
        finish=moving(CHECK, JOIN, going_on, lua("quality"), *map(lua, ("decided", "release", "finish"))),
        renew=Script(LOCKS, EXTEND, lua("renew"), within=BASE),
        requeue=moving(lua("requeue")),
        admit=moving(lua("admit")),
        grant=moving(lua("grant")),
        group=Script(SNAPSHOT, lua("group"), "return group_of(A.node)", within=BASE),
        expire=moving(lua("expire")),
        judge=moving(JOIN, going_on, TAKE_BACK, *map(lua, ("unseen", "quality", "decided", "judge"))),
        fallback=moving(TAKE_BACK, lua("unseen"), lua("fallback")),
        resolve=moving(lua("quality"), lua("resolve")),
        stop=moving(lua("stop")),
        pause=moving(lua("pause")),
        resume=moving(lua("resume")),
        retry=moving(UNDO, TAKE_BACK, *(lua(name) for name in ("quality", "marks", "choose", "reset", "retry"))),
        look=of_any_run(mail, SNAPSHOT),
        leave=Script(lua("waits"), lua("leave")),
        posts=mail != NO_MAIL,
    )


@cache
def expanding(mail: str = NO_MAIL) -> ExpansionScripts:
    """The scripts of mapped steps; `mail` as for `transitions`."""
    moving = partial(Script, LOCKS, SNAPSHOT, FLOW, within=f"{mail}\n{BASE}")
    return ExpansionScripts(
        expand=moving(lua("over"), lua("expand")),
        feed=moving(lua("over"), lua("feed")),
        chunk=moving(lua("over"), lua("rest"), lua("chunks"), lua("chunk")),
    )


log = logging.getLogger("orchestrator")


class Runtime(Struct):
    """One per application. `owner` names this worker process' incarnation: children inherit it by fork; `turns` counts
    that its main loop is alive; `tuning` is what it does about its alarms; `samples` come from its children, `notices`
    go to them; `mail` gives the Lua with which the ledger sends what it releases, or NO_MAIL where the engine has to
    publish, and `render` what it publishes."""

    store_url: str
    settings: EngineSettings
    templates: tuple[Path, ...] = ()
    mail: Callable[[], str] = lambda: NO_MAIL
    render: Callable[[str, Mapping[str, Any]], Rendered | None] = lambda *_: None
    hostname: str = field(default_factory=socket.gethostname)
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    broker_url: str = ""
    turns: int = 0
    member: FleetMember | None = None
    queue_seconds: Mapping[str, float] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)
    samples: Samples = field(default_factory=Samples)
    notices: Notices = field(default_factory=Notices)
    _main_pid: int = 0
    _renewed_at: float | None = None
    _steady_since: float = float("-inf")
    _ledgers: dict[int, Ledger] = field(default_factory=dict)
    _waiting: dict[int, redis.Redis] = field(default_factory=dict)
    _contexts: dict[int, ContextStore] = field(default_factory=dict)
    _segments: Segments | None = None
    _rendering: Templates | None = None
    _owners: Mapping[str, str] | None = None

    @property
    def client(self) -> redis.Redis:
        """This process' connection pool to the store."""
        return connect(self.store_url)

    @property
    def waiting(self) -> redis.Redis:
        """This process' connections for commands that wait on the server."""
        pid = os.getpid()
        if pid not in self._waiting:
            self._waiting = {pid: connect_blocking(self.store_url)}
        return self._waiting[pid]

    @property
    def ledger(self) -> Ledger:
        """This process' ledger."""
        pid = os.getpid()
        if pid not in self._ledgers:
            self._ledgers = {pid: ledger(self.client, self.settings, self.mail())}
        return self._ledgers[pid]

    @property
    def waiters(self) -> Waiters:
        """How this process looks for steps beside the messages that it is given."""
        return Waiters(self.client, transitions(self.mail()), f"{self.owner}:{os.getpid()}")

    @property
    def expansions(self) -> Expansions:
        """The mapped steps of this deployment's runs."""
        return expansions(self.client, self.settings, self.mail())

    @property
    def context(self) -> ContextStore:
        """The contexts of this deployment's runs, as this process reaches them."""
        pid = os.getpid()
        if pid not in self._contexts:
            self._contexts = {pid: context_store(self.client, self.settings, self.segments)}
        return self._contexts[pid]

    @property
    def owners(self) -> Mapping[str, str]:
        """Shared section of the context -> the agent that owns it."""
        if self._owners is None:
            self._owners = self.settings.owners
        return self._owners

    @property
    def segments(self) -> Segments:
        """The large values that the processes of this host pass to each other."""
        if self._segments is None:
            self._segments = Segments(self.settings.engine.shared_memory)
        return self._segments

    @property
    def rendering(self) -> Templates:
        """How agents render here."""
        if self._rendering is None:
            pool = self.settings.resource_manager.resource_pool.template_engine
            self._rendering = Templates(
                self.templates,
                pool.concurrent_renders,
                pool.render_timeout,
                self.settings.engine.max_value_bytes,
                cache=lambda: self.cache(Level.TEMPLATE_RENDER),
            )
        return self._rendering

    def foresee(self, templates: Collection[str]) -> None:
        """These templates are likely to be rendered: the process for it starts while the agent still works."""
        if templates and self.settings.caching_system.cache_optimization.prefetching.prefetch_templates:
            self.rendering.warm(templates)

    def cache(self, level: str) -> Cache:
        """One of this deployment's caches."""
        return Cache(self.client, rules_of(self.settings, hoarding=self.notices.hoarding)[level])

    @property
    def pools(self) -> Pools:
        """The pools of this deployment, which all its runs share."""
        return pools(self.client, self.settings)

    def locks(self, run_id: str) -> Locks:
        """The locks of a run's context, by this deployment's rules."""
        manager = self.settings.resource_manager
        store = manager.resource_pool.context_store
        rules = LockRules(
            readers=store.concurrent_readers,
            writers=store.concurrent_writers,
            timeout=store.lock_timeout,
            queuing=manager.allocation_strategy.resource_sharing.context_queuing,
            lease=self.settings.engine.lease_seconds,
        )
        return Locks(self.client, run_id, rules)

    def enter_worker(self, hostname: str) -> None:
        """A worker's main process starts: from here on attempts are claimed in its name."""
        self.hostname = hostname
        self.owner = f"{hostname}:{uuid.uuid4().hex[:12]}"
        self._main_pid = os.getpid()
        self.samples.open()
        self.notices.open()
        transitions(self.mail())  # once, before the children are forked

    @property
    def in_child(self) -> bool:
        """Whether this is one of a worker's processes beside its main one."""
        return self._main_pid not in (0, os.getpid())

    def renewed(self) -> None:
        """This worker's leases were renewed. After a gap in which a lease could lapse, others' may have as well."""
        now = monotonic()
        if self._renewed_at is not None and now - self._renewed_at > self._gap:
            self._steady_since = now
        self._renewed_at = now

    def may_judge_leases(self) -> bool:
        """Whether a lease that has lapsed tells of its worker, and not of the store: nobody could renew while that was
        away. Whoever came through such a time waits for a lease; children of a worker leave it to its main process."""
        if self.in_child:
            return False
        now = monotonic()
        steady = now - self._steady_since >= self.settings.engine.lease_seconds
        return self._renewed_at is None or (steady and now - self._renewed_at <= self._gap)

    @property
    def _gap(self) -> float:
        return self.settings.engine.lease_seconds - self.settings.engine.renew_seconds


def ledger(client: redis.Redis, settings: EngineSettings, mail: str = NO_MAIL) -> Ledger:
    """The ledger over a client, with the context's part of its transitions."""
    return Ledger(
        client,
        transitions(mail),
        lost_after=settings.engine.lost_after,
        keep=settings.engine.context_versions,
        keep_bytes=settings.engine.context_bytes,
        pace=settings.engine.priority_seconds,
    )


def expansions(client: redis.Redis, settings: EngineSettings, mail: str = NO_MAIL) -> Expansions:
    """The mapped steps over a client."""
    return Expansions(client, expanding(mail), lost_after=settings.engine.lost_after)


def pools(client: redis.Redis, settings: EngineSettings) -> Pools:
    """The pools over a client, as large as the settings say."""
    ageing = settings.resource_manager.allocation_strategy.ageing
    return Pools(client, settings.capacity, ageing=ageing, look=settings.engine.lease_seconds)


def context_store(client: redis.Redis, settings: EngineSettings, segments: Segments | None = None) -> ContextStore:
    """The contexts over a client, kept as long as the settings say."""
    engine = settings.engine
    return ContextStore(client, keep=engine.context_versions, keep_bytes=engine.context_bytes, segments=segments)


def message_limits(settings: EngineSettings) -> MessageLimits:
    """How large messages are, and how many are kept."""
    most = settings.engine.messages_bytes
    return MessageLimits(message=settings.engine.message_bytes, keep=most // 4, bytes=most)


def runtime_of(app: Celery) -> Runtime:
    """The runtime that `create_app` attached."""
    found: Runtime = app.orchestrator  # type: ignore[attr-defined]
    return found


def is_current(runtime: Runtime, run_id: str, step: str, token: int) -> bool:
    """Whether an attempt goes on: it was not replaced, and its run is not being cancelled. One round trip."""
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        pipe.hget(keys.run_key(run_id, "meta"), "state")
        pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "token")
        run_state, (state, current) = pipe.execute()
    return run_state != b"cancelling" and state == b"running" and int(current) == token
