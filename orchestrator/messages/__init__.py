"""What is told while runs go on: typed events on Redis streams, and messages of agents and services to each other."""
