"""The ledger: the only place that moves a run from state to state, one atomic script per transition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

import redis

from orchestrator import keys
from orchestrator.batch import Call, GroupCommit, scripted
from orchestrator.connection import guarded
from orchestrator.keys import run_prefix
from orchestrator.run import replies
from orchestrator.run.pacing import has_pace
from orchestrator.run.replies import Agenda, Claimed, Clash, GroupState, Moved, Refused, Unlocked, Writer
from orchestrator.run.transitions import DUE, EXTEND, PROGRESS, UNTAKEN, WARN, WROTE, Transitions
from orchestrator.scripts import Script, encode

if TYPE_CHECKING:
    from orchestrator.run.nodes import Node

NONCE_BYTES = 8
AT_ONCE = 8
"""So many claims and ends of a process are on their way at a time; when more come together, they share round trips."""

Payload = Sequence[str | bytes]
"""One field of a commit, or one conflict (its id and the packed record), as the context's Lua reads it."""

Undecided = tuple[str, float | None]
"""A conflict that waits for a person: its id, and after how many seconds that is over."""


class Ledger:
    """Transitions of runs on one Redis.

    Every method is one round trip, but where it says otherwise. `lost_after` (seconds) is how long a published
    step may stay unclaimed before a sweep looks for its message; `keep` versions of the context are kept, as long as
    its values take less than `keep_bytes`. Priorities are judged anew every `pace` seconds. `now` replaces Redis' clock
    in tests.
    """

    def __init__(
        self,
        client: redis.Redis,
        scripts: Transitions,
        *,
        lost_after: float = 10.0,
        keep: int = 1000,
        keep_bytes: int = 64_000_000,
        pace: float = 10.0,
        now: float | None = None,
    ) -> None:
        self.client = client
        self._scripts = scripts
        self._commit = GroupCommit(scripted(client), at_once=AT_ONCE)
        self.posts = scripts.posts
        self._common: dict[str, Any] = {"lost": lost_after}
        self.pace = pace
        self._writing = {"keep": keep, "keep_bytes": keep_bytes}
        if now is not None:
            self._common["now"] = now

    def arguments(self, **given: Any) -> dict[str, Any]:
        """What every script of this ledger is told, and what is given."""
        return self._common | {name: value for name, value in given.items() if value is not None}

    def create(
        self,
        run_id: str,
        nodes: Sequence[Node],
        *,
        workflow: str,
        spec: str,
        inputs: Mapping[str, str],
        critical_path_seconds: float = 0.0,
        retention: float = 0.0,
        timeout: float | None = None,
    ) -> Moved | Refused:
        """Create a run once; Refused("exists") when it is there already. `inputs` maps names to JSON texts."""
        arguments, payloads = self.creation(
            nodes, workflow=workflow, spec=spec, inputs=inputs, critical_path_seconds=critical_path_seconds,
            retention=retention, timeout=timeout,
        )  # fmt: skip
        return replies.moved(self._scripts.create(self.client, run_id, arguments, payloads))

    def create_many(
        self, runs: Sequence[tuple[str, Mapping[str, Any], Sequence[str]]], *, ahead: Sequence[Call] = ()
    ) -> tuple[list[Any], list[Moved | Refused]]:
        """`create` for several runs, the id of each and what `creation` gives for it, behind other scripts; what those
        say, and what becomes of the runs. One round trip."""
        create = self._scripts.create
        calls = [(create, run_prefix(run_id), (encode(arguments), *payloads)) for run_id, arguments, payloads in runs]
        found: Sequence[Any] = scripted(self.client)([*ahead, *calls])
        for one in found:
            if isinstance(one, Exception):
                raise one
        return list(found[: len(ahead)]), [replies.moved(raw) for raw in found[len(ahead) :]]

    def creation(
        self,
        nodes: Sequence[Node],
        *,
        workflow: str,
        spec: str,
        inputs: Mapping[str, str],
        critical_path_seconds: float,
        retention: float,
        timeout: float | None,
        entering: str | None = None,
        entered: bool = False,
        texts: Sequence[str] = (),
    ) -> tuple[dict[str, Any], list[str]]:
        """Arguments and payloads of `create`, for callers that send it on a connection of their own. `entering`: the
        promise without which the answer is Refused("full"); `entered`: it is kept with this run; `texts`: those of the
        nodes, for whoever has them."""
        if not texts:
            from orchestrator.run.nodes import texts_of  # whoever creates has planned; workers only read

            texts = texts_of(nodes)
        payloads = [spec, *texts]
        for name, text in inputs.items():
            payloads += (name, text)
        arguments = self.arguments(
            workflow=workflow, critical_path_seconds=critical_path_seconds, retention=int(retention), timeout=timeout,
            pace=self.pace if has_pace(nodes) else None, entering=entering, entered=entered or None,
        )  # fmt: skip
        return arguments, payloads

    def _together(self, script: Script, run_id: str, arguments: Any, payloads: Sequence[str | bytes] = ()) -> Any:
        return self._commit((script, keys.run_prefix(run_id), (encode(arguments), *payloads)))

    def claim(
        self, run_id: str, step: str, *, worker: str, owner: str, lease: float, pid: int = 0
    ) -> Claimed | Refused:
        """Take a queued step. `owner` names the worker process' incarnation, `pid` the process that does the work; the
        lease is in seconds. Repeated by the driver after a lost answer, it grants the same attempt."""
        arguments = self.arguments(
            step=step, worker=worker, owner=owner, lease=lease, pid=pid, nonce=token_hex(NONCE_BYTES)
        )
        return replies.claimed(self._together(self._scripts.claim, run_id, arguments))

    def finish(
        self,
        run_id: str,
        step: str,
        state: str,
        *,
        token: int,
        executed: bool = True,
        delay: float = 0.0,
        error: str = "",
        reason: str = "",
        snapshot: int = 0,
        seen: Sequence[str] = (),
        absorbed: Sequence[tuple[str, str]] = (),
        fields: Sequence[Payload] = (),
        conflicts: Sequence[Payload] = (),
        bases: Sequence[Payload] = (),
        undecided: Sequence[Undecided] = (),
        files: Mapping[str, bytes] | None = None,
        locks: Mapping[str, int] | None = None,
        marks: Sequence[Mapping[str, str]] = (),
        apart: bool = False,
        onward: Mapping[str, Any] | None = None,
        release: tuple[str, str] | None = None,
    ) -> Moved | Clash | Unlocked | Refused:
        """End the current attempt, known by its token. `executed`: by its own Celery task, whose canvas goes on;
        `apart`: by whoever gathers what the lanes of a mapped step have done.

        `fields` are what it commits to the context, having read that at version `snapshot` with the branches of the
        steps `seen` over it; merged with what those have written into the `absorbed` (step, field). `conflicts` are
        what a merge left to decide; for the `undecided` ones the run waits. `bases` (field, hash, packed value) are
        what a member of a group started from where it read branches. `locks` are the tokens of the locks it wrote
        under, `marks` as in `judge`. Attempts that are refused, or clash with another writer, change nothing.
        `onward` is what `onward.lua` needs to know of a process that would begin the next step at once. `release`:
        the action and the reason of the barriers that it joins, where all members have succeeded and nothing has to be
        merged; without it, as otherwise, the caller judges.
        """
        arguments = self.arguments(
            step=step, state=state, token=token, executed=(executed and not apart) or None, delay=delay,
            error=error[:2000], reason=reason, snapshot=snapshot, fields=len(fields), nonce=token_hex(NONCE_BYTES),
            conflicts=len(conflicts), open=_open(undecided) if undecided else None, locks=locks or None,
            seen=list(seen) or None, absorbed=list(absorbed) or None, marks=list(marks) or None,
            bases=len(bases) or None, apart=apart or None, on=onward, release=release,
        ) | self._writing  # fmt: skip
        payloads = [part for row in (*fields, *conflicts, *bases) for part in row]
        for name, content in (files or {}).items():
            payloads += (name, content)
        raw = self._together(self._scripts.finish, run_id, arguments, payloads)
        return Unlocked(raw[1].decode()) if raw[0] == b"unlocked" else replies.finished(raw)

    def renew(
        self, run_id: str, steps: Iterable[str], *, owner: str, lease: float, attempts: Iterable[tuple[str, int]] = ()
    ) -> dict[str | tuple[str, int], int]:
        """Keep attempts alive: the last ones of these steps, and these ones (step, token), to which processes have gone
        on. Either -> the process of this owner that makes, or has made, it; 0 when it was taken from it, -1 when a
        step's is somebody else's. Those of which none can be said are left out."""
        places: list[str | tuple[str, int]] = [*steps, *attempts]
        told = [(place, 0) if isinstance(place, str) else place for place in places]
        raw = self._scripts.renew(self.client, run_id, self.arguments(places=told, owner=owner, lease=lease))
        return {places[number - 1]: int(pid) for number, pid in raw}

    def progress(self, run_id: str, step: str, token: int, fraction: float, message: str) -> str | Refused:
        """Record progress; returns the state of the run."""
        arguments = self.arguments(step=step, token=token, fraction=fraction, message=message[:500])
        raw = PROGRESS(self.client, run_id, arguments)
        return Refused(raw[1].decode()) if raw[0] == b"refused" else str(raw[1].decode())

    def due(self, run_id: str, *, again: float) -> Agenda:
        """Everything of the run that is due; each item comes up again after `again` seconds unless acted upon."""
        return replies.agenda(DUE(self.client, run_id, self.arguments(again=again)))

    def requeue(self, run_id: str, step: str, *, found: str) -> Moved | Refused:
        """Publish a step again that is still in the state `found` (`retrying`, `queued` or `ready`)."""
        return replies.moved(self._scripts.requeue(self.client, run_id, self.arguments(step=step, **{"from": found})))

    def admit(self, run_id: str, nodes: Sequence[str]) -> Moved | Refused:
        """Queue the steps that have waited for declared locks which these nodes (steps, or groups) hold by now."""
        return replies.moved(self._scripts.admit(self.client, run_id, self.arguments(nodes=list(nodes))))

    def grant(self, run_id: str, grants: Sequence[tuple[str, int]]) -> Moved | Refused:
        """Queue the steps that have got the leases on pools that they asked for (step, number of the asking)."""
        return replies.moved(
            self._scripts.grant(self.client, run_id, self.arguments(grants=[list(one) for one in grants]))
        )

    def expire(
        self, run_id: str, step: str, *, error: str, state: str = "timed_out", reason: str = "schedule_timeout"
    ) -> Moved | Refused:
        """A step that still waits for a worker or for pools ends without having run."""
        arguments = self.arguments(step=step, error=error, state=state, reason=reason)
        return replies.moved(self._scripts.expire(self.client, run_id, arguments))

    def group(self, run_id: str, node: str) -> GroupState | None:
        """A group with its members as they stand now; None when its barrier is decided, or there is none."""
        return replies.group_state(self._scripts.group(self.client, run_id, self.arguments(node=node)))

    def wrote(self, run_id: str, node: str, step: str, paths: Sequence[str]) -> list[Writer]:
        """Record what a member of a group has written into shared sections; returns what the others have. Nobody, when
        their barrier has decided."""
        return replies.writers(WROTE(self.client, run_id, self.arguments(node=node, step=step, paths=list(paths))))

    def warn(self, run_id: str, node: str, step: str, warnings: Sequence[tuple[str, str, str]]) -> list[str]:
        """Tell that a member of a group collides with others: (path, other member, sentence). Each pair and place is
        told once; returns the sentences that are new."""
        arguments = self.arguments(node=node, step=step, warnings=[list(one) for one in warnings])
        return [sentence.decode() for sentence in WARN(self.client, run_id, arguments)]

    def spent(self, run_id: str, step: str) -> int:
        """How many of a step's attempts no longer count: it was taken back after them, and runs anew."""
        with guarded():
            raw = cast("bytes | None", self.client.hget(keys.run_key(run_id, f"s:{step}"), "spent"))
        return int(raw or 0)

    def lost(self, run_id: str, step: str, token: int) -> int:
        """As `spent`, when the process of the attempt `token` is gone; that one does not count either when it was
        handed to the process and never taken up."""
        return int(UNTAKEN(self.client, run_id, self.arguments(step=step, token=token)))

    def extend(
        self,
        run_id: str,
        node: str,
        seconds: float,
        members: Sequence[str],
        *,
        reason: str = "",
        before: int | None = None,
    ) -> Refused | int:
        """Move a barrier's deadline and its members' own; returns how many extensions there were. It was decided when
        there had been `before` of them (None: any number): when there are others, Refused("moved")."""
        arguments = self.arguments(node=node, seconds=seconds, members=list(members), reason=reason, before=before)
        raw = EXTEND(self.client, run_id, arguments)
        return Refused(raw[1].decode()) if raw[0] == b"refused" else int(raw[1])

    def fall_back(
        self,
        run_id: str,
        node: str,
        *,
        again: Sequence[str],
        members: Sequence[str],
        seen: Sequence[str] = (),
        seconds: float,
        pause: float,
        reason: str,
    ) -> Moved | Refused:
        """Members of a group run once more, one after another, in the order of `again`; once per group. They have
        `seconds` together (0: any time). Attempts that are taken away get `pause` seconds to stop, before their step is
        published. `seen` as in `judge`."""
        arguments = self.arguments(
            node=node, again=list(again), members=list(members), seen=list(seen) or None, seconds=seconds or None,
            pause=pause, reason=reason,
        )  # fmt: skip
        return replies.moved(self._scripts.fallback(self.client, run_id, arguments))

    def judge(
        self,
        run_id: str,
        node: str,
        state: str,
        *,
        decision: str,
        members: Sequence[str],
        seen: Sequence[str] = (),
        action: str = "",
        filled: Collection[str] = (),
        impact: str = "medium",
        branches: Collection[str] = (),
        fields: Sequence[Payload] = (),
        conflicts: Sequence[Payload] = (),
        undecided: Sequence[Undecided] = (),
        marks: Sequence[Mapping[str, str]] = (),
        absorbed: Sequence[tuple[str, str]] = (),
        early: bool = False,
        onward: Mapping[str, Any] | None = None,
    ) -> Moved | Refused:
        """A barrier's decision takes effect, once: an `action`, with its reason. `filled` are members for whose output
        something in `fields` stands, with that `impact` on quality; `early`: members may still be running, and are
        ended as timed out. `marks` say what is not as it should be, as `models.QualityMark`; `onward` as in `finish`.

        It was decided over members in the states `seen`, in the order of `members`; `branches` are those that have
        written, `fields` what the merge of their shared sections gave, together with the `absorbed` (step, field) of
        other branches, which they had read. When any of that is different by now, or the context went on,
        Refused("moved"): decide and merge again.
        """
        arguments = self.arguments(
            node=node, state=state, action=action, decision=decision, members=list(members), filled=list(filled),
            seen=list(seen) or None, impact=impact, branches=list(branches), fields=len(fields),
            conflicts=len(conflicts), early=early or None, open=_open(undecided), marks=list(marks) or None,
            absorbed=list(absorbed) or None, on=onward, nonce=token_hex(NONCE_BYTES),
        ) | self._writing  # fmt: skip
        payloads = [part for row in (*fields, *conflicts) for part in row]
        return replies.moved(self._scripts.judge(self.client, run_id, arguments, payloads))

    def resolve(
        self,
        run_id: str,
        conflict: str,
        *,
        author: str,
        fields: Sequence[Payload],
        record: Payload,
        marks: Sequence[Mapping[str, str]] = (),
    ) -> Moved | Clash | Refused:
        """A conflict is decided, once: its field gets the value in `fields`, and when it was the last one that is open
        the run goes on. `marks` as in `judge`."""
        arguments = self.arguments(
            id=conflict, author=author, fields=len(fields), conflicts=1, marks=list(marks) or None
        ) | self._writing  # fmt: skip
        payloads = [part for row in (*fields, record) for part in row]
        return replies.finished(self._scripts.resolve(self.client, run_id, arguments, payloads))

    def stop(self, run_id: str, state: str, *, reason: str, grace: float) -> Moved | Refused:
        """End a run before its time as `cancelled`, `timed_out` or `failed`; running steps get `grace` seconds."""
        arguments = self.arguments(state=state, reason=reason, grace=grace)
        return replies.moved(self._scripts.stop(self.client, run_id, arguments))

    def pause(self, run_id: str) -> Moved | Refused:
        """Nothing of the run starts from now on; what runs goes on. Clocks of the run and of its groups stand still."""
        return replies.moved(self._scripts.pause(self.client, run_id, self.arguments()))

    def resume(self, run_id: str) -> Moved | Refused:
        """Let a paused run go on; one that is not paused does anyway."""
        return replies.moved(self._scripts.resume(self.client, run_id, self.arguments()))

    def retry(self, run_id: str, step: str | None = None, *, failed: bool = False) -> Moved | Refused:
        """Begin anew from one step that has ended, from all that ended badly, or, with neither, from the start: those
        and whatever comes after them, with as many attempts as at first. What they wrote is taken back."""
        arguments = self.arguments(step=step, failed=failed or None, nonce=token_hex(NONCE_BYTES)) | self._writing
        return replies.moved(self._scripts.retry(self.client, run_id, arguments))


def _open(undecided: Sequence[Undecided]) -> list[list[Any]] | None:
    """As Lua takes them: JSON's null is no nil there."""
    return [[part for part in item if part is not None] for item in undecided] or None
