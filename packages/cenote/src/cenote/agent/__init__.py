"""The host agent: applies records to the servers of its host, and forwards their logs."""
