"""The lock service: grants, queues and shows the locks of operations and people."""
