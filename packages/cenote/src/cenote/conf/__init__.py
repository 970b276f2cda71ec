"""Pure functions that render configuration files from records.

Every value that may come from a customer is quoted for the format it is written to.
"""
