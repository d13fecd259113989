"""Arrays from disk: what tasks learn from that no formula gives."""
