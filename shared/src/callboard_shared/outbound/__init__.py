"""The one way out to URLs that users give: for webhooks and for inputs.

    check_url       what can be judged by the text, at submission (``callboard_shared.urls``, without httpx)
    open_client     an ``httpx.AsyncClient`` whose every connection goes to an address that was judged
    fetch           an input into a file: at most so large, so slow, so often sent elsewhere

A name is resolved once for a connection; if any of its addresses is not public there is none. The connection goes
to an address that was judged, while TLS asks for the name. Proxies and credentials of the environment, redirects,
cookies and compressed answers play no part.
"""

from callboard_shared.outbound.client import open_client
from callboard_shared.outbound.dialing import Dialer, Resolve, UrlBlocked
from callboard_shared.outbound.fetching import (
    Fetched,
    FetchFailed,
    FetchLimits,
    FetchTimeout,
    FetchTooLarge,
    FetchUnavailable,
    download,
    fetch,
)
from callboard_shared.settings import OutboundSettings
from callboard_shared.urls import Policy, UrlNotAllowed, check_url, shown_host

__all__ = [
    "Dialer",
    "FetchFailed",
    "FetchLimits",
    "FetchTimeout",
    "FetchTooLarge",
    "FetchUnavailable",
    "Fetched",
    "OutboundSettings",
    "Policy",
    "Resolve",
    "UrlBlocked",
    "UrlNotAllowed",
    "check_url",
    "download",
    "fetch",
    "open_client",
    "shown_host",
]
