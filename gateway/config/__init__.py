"""The configuration language. Floor 2: reads files, knows no network and no log.

`load` gives a `Config` that is known to be right, or every problem at once; `compile`
makes of it the values that requests meet; `schema` tells editors what may be written.
A plug-in's settings are made of `fields` and `units`.
"""
