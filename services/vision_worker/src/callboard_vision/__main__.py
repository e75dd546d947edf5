"""``python -m callboard_vision`` becomes the worker's Celery process."""

from callboard_vision.main import worker

worker.main()
