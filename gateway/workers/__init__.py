"""Several processes behind one port. Floor 5; with one worker none of this runs.

    link       what the parent and a worker say to each other
    metrics    the metrics of several processes, made one
    worker     a worker: serves clients, and does what its parent asks
    post       a worker's place: its socket, and whoever holds it now
    consent    another configuration: all workers take it up, or none
    desk       what the parent answers for all: metrics, explain, revoke
    console     what the parent shows of them
    parent     opens the sockets, looks after the posts, ends them in good order

Each post has a socket of its own (SO_REUSEPORT): the kernel spreads connections over
them, where one socket for all would give nearly all to one worker. The parent keeps
every socket open, so what waits in a crashed worker's queue is its successor's.
Workers are spawned, not forked: no lock, thread or event loop is inherited half-way.
"""
