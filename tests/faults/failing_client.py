"""A service that submits the run of a workflow on its standard input, in a process with failpoints or in several.

Usage: failing_client STORE_URL BROKER_URL KEY, or failing_client STORE_URL BROKER_URL --fork PROCESSES. Prints run ids.
"""

from __future__ import annotations

import json
import os
import sys

from orchestrator import Client
from orchestrator.engine import submission
from orchestrator.run.store import Ledger
from tests.faults.failpoints import before

RUNS_EACH = 3


def main(store: str, broker: str, key: str, processes: str = "") -> None:
    document = json.load(sys.stdin)
    client = Client(store, broker_url=broker)
    if processes:
        tell(client.submit(document).id)  # whatever it connects with is open now
        children = []
        for _ in range(int(processes)):
            pid = os.fork()
            if not pid:
                several(client, document)
                os._exit(0)
            children.append(pid)
        several(client, document)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)
        return
    before(Ledger, "create_many", "reserved")  # the run has an id, and is not there
    before(submission, "follow_all", "created")  # the run is there; where the client has to, nobody publishes its steps
    tell(client.submit(document, idempotency_key=key).id)


def several(client: Client, document: object) -> None:
    for _ in range(RUNS_EACH):
        tell(client.submit(document).id)


def tell(run_id: str) -> None:
    os.write(1, f"{run_id}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
