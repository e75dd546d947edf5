"""What runs the jobs: a module a family, each with its class of handlers; ``main`` wires them to their types."""
