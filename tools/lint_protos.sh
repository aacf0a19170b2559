#!/bin/sh
# Lints the protos and compares them with the released ones; needs node_modules and .venv.
set -eu
cd "$(dirname "$0")/.."
buf=node_modules/.bin/buf
.venv/bin/python -m tools.generate_protos --google
$buf lint
if [ -f protos/released.binpb ]; then
    $buf breaking protos --against protos/released.binpb
fi
.venv/bin/python -m tools.release_protos --check
