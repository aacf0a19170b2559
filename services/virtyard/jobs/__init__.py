"""The job scheduler: plans, runs, undoes and remembers every change."""
