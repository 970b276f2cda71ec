"""Starts Patroni with what its configuration cannot say.

Patroni's own interpreter runs a copy of this package (``host/launcher_archive.py``), so no module of it
imports anything else of ours.  The one argument is the configuration (``conf/patroni.py``).  Its section
``cenote`` is ours:

``socket``: the unix socket of etcd, which Patroni takes for the address ``socket_host``.  Patroni knows TCP
alone, and etcd listens on no port where it needs none.
``rest_address``: where Patroni's own API listens, on a port that is free when it starts; members tell each
other in the store where that is.
"""
