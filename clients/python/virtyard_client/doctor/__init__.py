"""`virtyard doctor`: looks for what is stuck, says why and what to do, and repairs only by jobs."""
