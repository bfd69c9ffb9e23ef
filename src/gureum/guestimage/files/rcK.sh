#!/bin/sh
# What init runs before it powers off or reboots.
export PATH=/usr/bin
echo "gureum: going down after $(cut -d' ' -f1 /proc/uptime) s"
sync
