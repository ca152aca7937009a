"""Celery carries: the application, the tasks, and what publishes and repairs them."""
