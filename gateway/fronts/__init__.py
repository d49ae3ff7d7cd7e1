"""Doors: each turns its wire into a `RequestHead` and a `Decision` back. Floor 4."""
