"""``python -m callboard_llm`` becomes the worker's Celery process."""

from callboard_llm.main import worker

worker.main()
