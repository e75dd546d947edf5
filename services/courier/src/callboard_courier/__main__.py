"""``python -m callboard_courier`` becomes the worker's Celery process."""

from callboard_courier.main import worker

worker.main()
