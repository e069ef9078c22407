"""Printers of what the mind holds: no decisions, no kernel. ``log`` prints events as lines."""
