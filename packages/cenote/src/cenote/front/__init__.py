"""Endpoints that the service provides beside the API: the metrics of each node, on a port of its own."""
