"""The courier of Callboard: the sweep, webhook delivery, system jobs."""
