"""Configuration files, from pure functions: records in, text out.

Every value that a customer may have chosen goes through a quoting function of the format it is written into.
"""
