"""Values and wiring of this deployment."""
