"""How each provider refuses, one file each, named as in configuration. Floor 2.

To add one: a module with `answer(denial: Denial) -> Answer`, total over `Reason`.
"""
