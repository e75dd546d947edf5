"""``python -m callboard_nlp`` becomes the worker's Celery process."""

from callboard_nlp.main import worker

worker.main()
