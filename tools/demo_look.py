"""Several commands of the public command line in one process: looking at the whole site costs one start, not nine.

Each argument is a command, as `"vm list"`; its JSON lines come out followed by a line with a dash.
"""

from __future__ import annotations

import sys

from virtyard_client.main import main

END = "-"
"""The line after each command's output; JSON is never that short."""


def run(commands: list[str]) -> int:
    """Run the commands one after another and return the first exit code that is not 0."""
    for command in commands:
        code = main([*command.split(), "--json"])
        if code:
            return code
        print(END, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
