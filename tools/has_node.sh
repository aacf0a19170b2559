#!/bin/sh
# Succeeds where npm is, and a Node that the web console's tools take: 20.19, 22.12, or anything newer than 22.
command -v npm >/dev/null && command -v node >/dev/null || exit 1
exec node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'
