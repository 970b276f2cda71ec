"""Server logs and log sinks: parsing, formats and configuration.

Everything here is pure; ``host`` reads the files and sends, driven by ``agent``.
"""
