"""A real Celery application, its workers, and Celery's own view of their events."""
