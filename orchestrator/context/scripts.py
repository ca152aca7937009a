"""The Lua of this room: fragments that the engine composes into its transitions, and scripts of our own."""

from __future__ import annotations

from orchestrator.scripts import Script, fragment

_ROOM = "orchestrator.context"


def lua(name: str) -> str:
    """A fragment of this room."""
    return fragment(_ROOM, name)


BASE = fragment("orchestrator.run", "base")
READING = "\n".join(lua(name) for name in ("values", "main_line"))
SNAPSHOT = "\n".join(
    lua(name) for name in ("values", "main_line", "version", "payload", "absorb", "branch", "commit", "snapshot")
)
"""For claims: `snapshot(step, wanted)`. For ends of attempts also `clashes`, `commit`, `commit_branch`, `unpin`."""
JOIN = lua("join")
"""For barriers, behind SNAPSHOT: `moved()`, `join(node)` and `join_own(node, branches)`."""
UNDO = lua("undo")
"""For steps that begin anew, behind SNAPSHOT: `undo(chosen, whole)`."""

BRANCHING = "\n".join((READING, *(lua(name) for name in ("version", "payload", "absorb", "branch", "commit"))))

READ = Script(BASE, BRANCHING, lua("overlay"), lua("read"))
BRANCHES = Script(BASE, BRANCHING, lua("branches"))
DIFF = Script(BASE, READING, lua("diff"))
RESTORE = Script(BASE, READING, lua("version"), lua("restore"))
PUBLISH = Script(BASE, lua("publish"))
