#!/bin/sh
# Builds the web console, where npm and a Node that is new enough are here; where not, says so and ends well, for nothing
# but the console needs them. Quick when nothing is newer than what was built.
set -u
cd "$(dirname "$0")/.."
built=services/virtyard/gateway/console/index.html

not_built() {
    printf '%s\n' "console: not built: $1. Everything else works without it."
    exit 0
}

if [ -f "$built" ] && [ -z "$(find clients/web/src clients/web/public clients/web/index.html clients/web/vite.config.ts \
    clients/web/package-lock.json -newer "$built" -print 2>/dev/null | head -n 1)" ]; then
    exit 0
fi
# Where tools/install.sh has put Node, if it had to.
PATH=$PWD/.venv/node/bin:$PATH
tools/has_node.sh || not_built "npm and Node 20.19, 22.12 or newer are needed"
printf '%s\n' "console: building it (about 90 MB of Node packages to download the first time)"
log=$(mktemp)
if make -s --no-print-directory console >"$log" 2>&1; then
    rm -f "$log"
else
    reason=$(tail -n 1 "$log")
    rm -f "$log"
    not_built "the build failed: $reason"
fi
