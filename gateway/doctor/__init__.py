"""`gateway doctor`: ask everybody the gateway depends on, and say what is wrong. Floor 5.

    finding       what was found, and what to do about it
    providers     each way to learn a token's facts, asked about an invented token
    surroundings  the store, and every target of every upstream
    command       the command

It asks as the gateway asks: by the same clients, credentials, authorities and
deadlines, from where it is run. Nothing is changed but one key of its own in the store,
which is taken back.
"""
