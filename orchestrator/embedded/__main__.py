"""Entry of the guardian process; started by `Stack`, of no use by hand."""

from __future__ import annotations

from orchestrator.embedded.guardian import main

if __name__ == "__main__":
    raise SystemExit(main())
