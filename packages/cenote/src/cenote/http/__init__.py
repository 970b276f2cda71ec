"""HTTPS for the API and for metrics: listener, server, timeouts and routing."""
