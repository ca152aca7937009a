"""Flower reads this file from the folder in which it is started: `celery -A config.celery_app flower`."""

from orchestrator import flower

flower.install()
