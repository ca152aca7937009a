"""What a surface shows of a run: one document with its plan, its attempts and everything that happened to it."""
