"""One execution of a plan: the ledger that alone releases steps."""
