"""Measurements that can be repeated: what things cost here, beside what they cost elsewhere, in the same minutes."""
