#!/bin/sh
# shutdown -h|-P|-r …: what the QEMU guest agent calls.
case " $* " in *" -r "*) exec reboot ;; esac
exec poweroff
