"""``python -m callboard_client`` is ``callboard``."""

from callboard_client.cli import main

main()
