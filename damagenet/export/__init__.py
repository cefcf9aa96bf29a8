"""Networks as files that run elsewhere."""
