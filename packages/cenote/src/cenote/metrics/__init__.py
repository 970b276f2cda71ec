"""Prometheus metrics of the clusters and of the service.

Pure: numbers go in, a page of text comes out.  Names follow https://prometheus.io/docs/practices/naming.
"""
