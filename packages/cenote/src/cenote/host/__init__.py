"""The only code with side effects on a machine: files, processes, SQL.

Nothing here decides anything.  ``Machine.do`` carries out one change; the rest is for looking.
"""
