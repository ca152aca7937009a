"""The ledger's scripts: what they are composed of, those of this room alone, and those that the engine composes."""

from __future__ import annotations

from msgspec import Struct

from orchestrator.scripts import Script, fragment

_ROOM = "orchestrator.run"


def lua(name: str) -> str:
    """A fragment of this room."""
    return fragment(_ROOM, name)


BASE = lua("base")
NO_MAIL = "local MAIL = nil"
"""Stands where scripts have the templates of `message.lua`: whoever calls them publishes what they release."""
_FLOW = ("rules", "leases", "settle", "ended", "turns", "consider", "flow", "expansion_keys", "lanes", "expiry",
         "close", "message", "take", "waits", "urgent", "post", "onward", "handing", "admitted", "chords", "group",
         "reply")  # fmt: skip
FLOW = "\n".join(lua(name) for name in _FLOW)
"""What a script needs in order to end nodes and release others, behind NO_MAIL or templates, BASE and the context's
fragments of locks and snapshots."""
GO_ON = "\n".join(lua(name) for name in ("next", "go_on"))
"""What a script needs, behind FLOW and `in_run`, in order to begin the next step for its caller."""
TAKE_BACK = "\n".join(lua(name) for name in ("withdraw", "reopen"))
"""What a script needs in order to end attempts before their time, and to run steps again."""

def in_run(snapshot: str) -> str:
    """Lua of a function, for scripts that go on in other runs than their own: see `any_run.lua`."""
    inside = (BASE, snapshot, lua("take"), lua("onward"), lua("any_run"))
    return "\n".join(("local function in_run(KEYS, ARGV)", *inside, "end"))


def of_any_run(mail: str, snapshot: str) -> Script:
    """`look.lua`: a script about the run of whatever message it finds."""
    return Script(mail, lua("waits"), in_run(snapshot), lua("look"))


PROGRESS = Script(BASE, lua("progress"))
UNTAKEN = Script(BASE, lua("untaken"))
DUE = Script(BASE, lua("due"))
EXTEND = Script(BASE, lua("extend"))
WROTE = Script(BASE, lua("wrote"))
WARN = Script(BASE, lua("warn"))


class Transitions(Struct, frozen=True):
    """The scripts that the engine composes of this room's fragments and those of others. `posts`: they put the messages
    of released steps into their queues, and leave only what they cannot send to their caller."""

    create: Script
    claim: Script
    finish: Script
    renew: Script
    requeue: Script
    admit: Script
    grant: Script
    group: Script
    expire: Script
    judge: Script
    fallback: Script
    resolve: Script
    stop: Script
    pause: Script
    resume: Script
    retry: Script
    look: Script
    leave: Script
    posts: bool = False
