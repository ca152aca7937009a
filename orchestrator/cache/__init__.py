"""Caches in Redis: bounded in bytes, each value computed by one at a time, the least useful ones given up first."""
