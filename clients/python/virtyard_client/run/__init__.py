"""What the verbs do: calls by the client, shown on the screen, ended with an exit code."""
