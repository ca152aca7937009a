"""What is measured and told about a deployment."""
