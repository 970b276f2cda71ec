"""Benchmarks of Cenote against the components it is made of: ``make bench``, or ``python -m bench NAME …``.

Each part compares Cenote with its floor, the same work without Cenote.  Samples of both alternate, so that
other load on the machine affects both.  No test depends on the results.
"""
