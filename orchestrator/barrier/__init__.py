"""How the members of a parallel group are brought together again."""
