"""Making the deliverables: what each agent works out from the values that the agents before it wrote."""
