"""Definitions and plans: reading a workflow, checking it, analysing it. Touches no network and no disk but the file."""
