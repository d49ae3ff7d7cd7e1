"""Ways to learn a token's facts, one file each, named as in configuration. Floor 3.

To add one: a module with `Settings` (a pydantic model), `knows(settings)` (which facts
it can tell) and `build(settings, context)` (the `Verifier`).
"""
