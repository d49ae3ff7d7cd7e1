"""Write configurations for engines that do the proxying themselves. Floor 4: pure.

An engine is one file: `render(site)` gives its configuration files by name, all made
from the routes, upstreams and header names that the gateway itself serves by. They are
a starting point, to be read and added to: their comments tell why a line is there.

What an engine cannot do, or must not be trusted with, it hands to the gateway's own
listener: that one judges the request again, and serves it whole.
"""
