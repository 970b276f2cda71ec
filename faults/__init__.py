"""What breaks a service: ``kill -9`` at random moments and upgrades, with a count of what was lost.

``make faults`` runs all of it for an hour or more, ``make test`` a short example of each.
"""
