#!/bin/sh
# screen -d -m PROGRAM ARGS…: run it apart from this session.
while [ "${1#-}" != "$1" ]; do shift; done
setsid "$@" </dev/null >/dev/null 2>&1 &
