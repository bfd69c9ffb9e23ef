#!/bin/sh
# Set passwords from lines "user:password" on standard input; -e: they are hashed already.
encrypted=
[ "$1" = -e ] && encrypted=yes
while IFS= read -r line; do
    name=${line%%:*}
    secret=${line#*:}
    grep -q "^$name:" /etc/shadow || { echo "chpasswd: no user $name" >&2; exit 1; }
    if [ -n "$encrypted" ]; then
        hash=$secret
    else
        hash=$(printf '%s\n' "$secret" | mkpasswd -m sha512 -P 0) || exit 1
    fi
    NAME=$name HASH=$hash awk -F: -v OFS=: \
        '$1 == ENVIRON["NAME"] { $2 = ENVIRON["HASH"] } { print }' /etc/shadow >/etc/shadow.new
    chmod 600 /etc/shadow.new
    mv /etc/shadow.new /etc/shadow
done
sync
