"""The logs of a cluster's servers, and the sinks that they are sent to.

Everything here is pure; ``host`` reads the files, and ``agent`` sends.
"""
