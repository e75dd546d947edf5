"""Webhook delivery: from the rows of the outboxes to signed posts, each tried until it is delivered or given up."""
