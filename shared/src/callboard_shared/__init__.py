"""What every part of Callboard shares: job types, ledger, worker runtime."""
