"""The workers of a deployment: what they have learned, how they are doing, and who should serve which queue."""
