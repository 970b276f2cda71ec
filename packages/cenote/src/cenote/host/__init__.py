"""The only code with side effects on a machine: files, processes, SQL.

It decides nothing.  ``Executor.do`` carries out one change; the rest observes.
"""
