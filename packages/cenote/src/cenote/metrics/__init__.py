"""What is exposed to Prometheus: the text format, and the metrics of a cluster and of the service itself.

Pure: numbers go in, text comes out.  Names follow https://prometheus.io/docs/practices/naming.
"""
