"""Fault tests wait most of their time: `played` lets them wait together."""

from __future__ import annotations

from tests.faults.scenes import played

__all__ = ["played"]
