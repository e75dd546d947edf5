"""One-time links that sign a browser in to the console as the stack's own admin key."""

from __future__ import annotations

from pydantic import SecretStr

from callboard_shared import access
from callboard_shared.ledger import Ledger
from callboard_shared.settings import LedgerSettings

TICKET_S = 600  # a link in a terminal's history should not stay a way in


def sign_in_link(url: str, redis_url: str, key: str) -> str:
    """A link that works once, within ten minutes. Raises LedgerUnavailable; "" if the key is not known (yet)."""
    ledger = Ledger(LedgerSettings(redis_url=SecretStr(redis_url)))
    try:
        found = ledger.run(access.find_key(access.secret_hash(key)))
        if found is None:
            return ""
        ticket = access.new_secret()
        ledger.run(access.put_ticket(ticket, found.id, TICKET_S))
    finally:
        ledger.close()
    return f"{url}/sign-in?ticket={ticket}"
