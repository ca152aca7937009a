"""The names of everything we keep in Redis. All keys of one run share the hash tag `{<run id>}`.

Of one run, with the prefix `orc:{<run id>}`:
  :meta     hash    the run: state, workflow, times, counters of ended and of failed nodes
  :spec     string  the plan, as JSON
  :inputs   hash    workflow inputs: name -> canonical JSON
  :edges    hash    node -> the nodes that wait for it, separated by blanks
  :defs     hash    step -> what a worker needs to run it and the engine to publish it, as JSON
  :s:<node> hash    one node: a step, `@<group>` (its barrier) or `^<group>` (the gate its members start behind)
  :due      zset    what has to be looked at, and when: lease:, timeout:, queued:, retry:, barrier:, cancel:<node>
  :ctx:head hash    field of the context (`<section>.<key>`) -> <version>:<content hash>:<mark>
  :ctx:past zset    what the head was before, as <field> NUL <version>:<hash>:<mark>; :ctx:fields all fields there are
  :ctx:blobs hash   content hash -> packed value; :ctx:refs a hash, how often each is held
  :ctx:info hash    newest version, its hash, the oldest readable version, bytes of all values
  :ctx:versions stream  one entry per version; :ctx:names a zset, name of a snapshot -> its version
  :ctx:pins zset    step -> the version that its running attempt reads
  :ctx:b:<step> hash    branch of a member of a group: field -> <version read at>:<hash then>:<hash>; @at, @merged
  :ctx:d:<step> hash    drafts of a running attempt: field -> packed value
  :ctx:open hash    conflict that waits for a person -> seconds to decide in
  :locks    hash    section -> last fencing token of its lock; when it is taken, with who waits and who holds, as JSON
  :waits    hash    how long locks were waited for: a histogram per section
  :wake:<request> list  what one waiter is told, for a minute at most
  :conflicts hash   id -> what could not be merged and how it was decided, as JSON
  :x:<step> hash    how far a mapped step is; `:in` has its chunks by `<stage>:<chunk>`, `:part` how far each is, `:out`
                    results by chunk, `:bad` what failed, `:q:<stage>` chunks that wait, `:later` those that wait for
                    another attempt, `:idle:<stage>` lanes without work, `:room` wakes its feeder
  :files    hash    `<step>/<name>` -> an artifact
  :log:<step> list  lines that its attempts logged, as JSON, bounded in bytes; :said a stream, the last times that any
            step has logged
  :messages stream  what agents and services tell each other; :messages:book a hash with its bytes and its groups,
            :messages:sent: and :messages:key: strings for a few minutes, what was published already
  :events   stream  every change; :end a stream that gets one entry, when the run has ended

Of one cache, with the prefix `orc:{cache.<name>}`; all of them expire some time after their last use:
  :values   hash    id -> packed value; :entries a hash, what is known of each, as `cache/lua/base.lua` says
  :order    zset    `<tick>:<id>` by score, the lowest is given up first; :ends a zset, id by the time it ends
  :families hash    agent or template -> its entries, hits and stores; :state a hash, bytes, clock and counters
  :build:<id> string  who computes a value, for as long as its lease; :waits:<id> a set of those who wait for it
  :wake:<owner> list  a word for one who waits, for a minute at most
"""

from __future__ import annotations

RUNS = "orc:runs"
"""zset: run id by time of creation."""

ACTIVE = "orc:active"
"""zset: run id by the time at which a sweep looks at it next; a run leaves it when it ends."""

NEWS = "orc:news"
"""stream, bounded in length: every change of state of every run, as an event that names the run."""

WAITING = "orc:waiting"
"""hash: process that waits for a step -> what the ledger needs to know of it; `orc:waiting:<queue>` a zset, until when
each waits there; all expire."""

GIVEN = "orc:given:"
"""list with an expiry, with the name of such a process: the step that was handed over to it, as JSON."""

TURNS = "orc:turns:"
"""hash with an expiry, with a worker's owner: id of the task whose message a process was given -> run, step and attempt
to which that process has gone on."""

ALERTS = "orc:alerts"
"""stream, bounded in length: what the people who run the deployment should know of."""

EVERYBODY = "all"
"""Stands for a run id in the names of the channel that belongs to no run; `:messages` and what belongs to it, bounded
in bytes, is all that there is of it."""

BENCHMARKS = "orc:bench:"
"""list, with the name of a benchmark: its reports as JSON, the newest last, bounded in length."""

AGENTS = "orc:agents"
"""hash: agent name -> its declaration as JSON, published by workers when they start."""

WORKFLOWS = "orc:workflows"
"""hash: name -> registered definition as YAML, published by workers when they start."""

WORKFLOW_FILES = "orc:workflows:files"
"""string: a hash of the files that were registered last, and of the code that read them."""

POOLS = "orc:{pools}"
"""prefix of what the pools of the deployment keep, with a hash tag of their own:
  :leases  hash  `<run id>/<step>` -> a lease as JSON; :looks a zset, when it is looked at next
  :asks    hash  the same of those who wait; :ageing a zset, when they gain a level; :kinds a set of demands
  :wait:<demand> zset  those who wait with that demand, in the order in which they get it
  :used    hash  pool -> thousandths that are given out; :classes a hash, agent class -> how many wait
  :entering hash run that is being submitted -> the steps that it will release, as JSON
  :fair    zset  fairness key -> its virtual time, when that is ahead of :virtual, that of all
  :rate:<bucket> string with an expiry: the time until which its tokens are given out
  :waits   hash  how long leases were waited for: a histogram per pool"""

DEAD_STEPS = "orc:dlq"
"""zset: `<run id>/<step>` by time; steps that were given up because they killed every process that tried them."""

DEAD_MESSAGES = "orc:dlq:messages"
"""stream: messages that a worker could not run, as JSON; bounded, and expires after the last one."""

LATENESS = "orc:lateness"
"""list, bounded: by how many seconds the newest deadlines fired late."""

ALARMS = "orc:alarms"
"""hash: `<metric>/<worker or queue>` of the alarms that are raised now."""

FLEET = "orc:fleet"
"""hash: worker -> when it told of itself last (s, Redis' clock), and what, as JSON; who is silent is taken out."""

FLEET_LOG = "orc:fleet:log"
"""stream, bounded in length: what workers have decided, and why."""

DURATIONS = "orc:durations"
"""hash: `<agent>` or `<agent>/<size of its input>` -> its newest durations in seconds, the oldest first; expires."""

SETTINGS = "orc:settings"
"""string: the engine's settings as JSON, published by workers when they start."""


def run_prefix(run_id: str) -> str:
    return f"orc:{{{run_id}}}"


def run_key(run_id: str, part: str) -> str:
    return f"orc:{{{run_id}}}:{part}"


def expansion_key(run_id: str, step: str, part: str = "") -> str:
    """What a mapped step has in the store."""
    return run_key(run_id, f"x:{step}:{part}" if part else f"x:{step}")


def idempotency_key(key: str) -> str:
    return f"orc:idempotency:{key}"


def worker_key(hostname: str) -> str:
    """hash with an expiry: a worker that is alive."""
    return f"orc:worker:{hostname}"


def barrier_node(group: str) -> str:
    return f"@{group}"


def validation_group(group: str) -> str:
    """The group of those who validate each other's work in a group. Ids of groups in a workflow hold no dot."""
    return f"{group}.validation"


def group_of(node: str) -> str:
    """The group in the workflow to which a barrier, or that of its validation, belongs."""
    return node[1:].partition(".")[0]


def turn_node(step: str) -> str:
    """The gate behind which a step of a sequential run waits for its turn."""
    return f"^^{step}"


def gate_node(group: str) -> str:
    return f"^{group}"


def cache_place(name: str) -> str:
    """What stands for the run's id in the keys of a cache; ids of runs hold no dot."""
    return f"cache.{name}"
