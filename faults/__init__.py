"""What breaks a service: ``kill -9`` at random moments and upgrades, with a count of what was lost.

``make faults`` runs all of it for many hours, ``make test`` a short example of each.
"""
