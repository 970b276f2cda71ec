"""The controller: what one process does for all hosts of a store, elected by a lease in etcd."""
