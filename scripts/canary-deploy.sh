#!/usr/bin/env bash
# deploy VERSION | scale PERCENT | monitor SECONDS | promote VERSION | rollback | status | ...: see quadra canary --help
exec quadra canary "$@"
