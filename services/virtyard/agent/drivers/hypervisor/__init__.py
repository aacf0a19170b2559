"""Hypervisor drivers: machines as processes of this host."""
