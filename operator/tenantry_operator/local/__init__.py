"""Tenantry without a cluster: a state directory in place of etcd, processes in place of pods."""
