"""The HTTP routes, thin: read the request, ask the desk or the ledger, write the answer."""
