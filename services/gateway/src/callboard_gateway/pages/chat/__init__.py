"""``/chat``: conversations with a model, read and written in a browser.

Pages and parts of pages are made here and swapped in by htmx; a reply that is being written comes as HTML over its
SSE extension. All of it rests on the ledger's verbs and on the desk, as the API does; the catalogue says whether there
is a voice to read aloud.
"""

from __future__ import annotations

from fastapi import APIRouter

from callboard_gateway.pages.chat import managing, reading, replying, speaking, writing

router = APIRouter()
for _part in (managing, writing, speaking, replying, reading):
    router.include_router(_part.router)
