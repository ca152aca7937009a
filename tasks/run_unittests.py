"""Run the unittest suite of a folder and print each test's outcome as one JSON document on the last line.

A program of its own, started with `python -I run_unittests.py FOLDER`: the tests see only their own folder.
"""

from __future__ import annotations

import io
import json
import sys
import unittest


class _Outcomes(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.outcomes.setdefault(test.id(), "passed")

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        self._failed(test, err)

    def addError(self, test: unittest.TestCase, err: object) -> None:
        self._failed(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        if err is not None:
            self._failed(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcomes[test.id()] = f"skipped: {reason}"

    def _failed(self, test: unittest.TestCase, err: object) -> None:
        kind, value = (err[0].__name__, err[1]) if isinstance(err, tuple) else ("Error", err)
        self.outcomes[test.id()] = f"failed: {kind}: {str(value)[:300]}"


def main(folder: str) -> None:
    """Discover and run `tests/` below the folder. What the tests print goes nowhere."""
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    report, sys.stdout = sys.stdout, io.StringIO()
    result = _Outcomes()
    suite = unittest.defaultTestLoader.discover(f"{folder}/tests", top_level_dir=folder)
    suite.run(result)
    report.write(json.dumps(result.outcomes) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
