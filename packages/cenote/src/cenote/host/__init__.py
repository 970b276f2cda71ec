"""All side effects on a host: files, processes, SQL.

It decides nothing.  ``Executor`` carries out one change at a time; ``Inspector`` only observes.
"""
