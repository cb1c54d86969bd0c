"""From a world to a plan: pure functions, tested without a cluster. Imports nothing that has side effects."""
