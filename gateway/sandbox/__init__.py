"""A development world: authorization servers and resource APIs of three providers.

Apart from the floors: only `gateway.cli` opens it. In memory, loopback only.
"""
