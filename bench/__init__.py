"""What Cenote costs beside what it is made of: ``make bench``, or ``python -m bench NAME …`` for some parts.

Each part measures ours and its floor by turns in one run, so that a busy machine is busy for both, and
returns rows.  Nothing here is asserted by a test.
"""
