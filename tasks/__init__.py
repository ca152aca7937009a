"""The agents of this deployment. Importing the package registers all of them with the library.

The six agents of the product workflow are rule-based: word lists, templates and counting, no language model. The same
brief always gives the same artifacts, and what was guessed or assumed is marked as such.
"""

from __future__ import annotations

from tasks.analyst import analyst
from tasks.architect import architect
from tasks.benchmarks import benchmark
from tasks.developer import developer
from tasks.drills import blob, crash, echo, fail, hang, noop, progress, sleep, spin, stamp, write
from tasks.items import add_up, at_least, count_words, flaky, merge_sorted, sort_slice
from tasks.pm import pm
from tasks.qa import qa
from tasks.ux_expert import ux_expert

__all__ = [
    "add_up",
    "analyst",
    "architect",
    "at_least",
    "benchmark",
    "blob",
    "count_words",
    "crash",
    "developer",
    "echo",
    "fail",
    "flaky",
    "hang",
    "merge_sorted",
    "noop",
    "pm",
    "progress",
    "qa",
    "sleep",
    "sort_slice",
    "spin",
    "stamp",
    "ux_expert",
    "write",
]
