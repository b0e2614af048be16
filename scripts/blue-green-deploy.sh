#!/usr/bin/env bash
# deploy VERSION | switch [COLOUR] | rollback | status | test COLOUR | finish: see quadra bluegreen --help
exec quadra bluegreen "$@"
