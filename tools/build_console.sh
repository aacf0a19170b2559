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
command -v npm >/dev/null && command -v node >/dev/null || not_built "npm is not installed"
node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)' ||
    not_built "Node $(node --version) is too old, 20.19 or 22.12 is needed"
printf '%s\n' "console: building it (about 90 MB of Node packages to download the first time)"
log=$(mktemp)
if make -s --no-print-directory console >"$log" 2>&1; then
    rm -f "$log"
else
    reason=$(tail -n 1 "$log")
    rm -f "$log"
    not_built "the build failed: $reason"
fi
