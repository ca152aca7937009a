"""Pools of the deployment: who may start now, who waits for what, and who holds it."""
