"""What the agents of one run share."""
