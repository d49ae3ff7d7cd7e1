"""The operator's door: explain, revoke. Floor 4."""
