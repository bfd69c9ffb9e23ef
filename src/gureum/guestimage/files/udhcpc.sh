#!/bin/sh
# Called by udhcpc with the event as $1 and the lease in the environment.
export PATH=/usr/bin

write_resolv_conf() {
    cat /run/dhcp/*.resolv 2>/dev/null | awk '!seen[$0]++' >/run/dhcp/resolv.conf
    cat /run/dhcp/resolv.conf >/etc/resolv.conf
}

set_routes() {
    if [ -n "$staticroutes" ]; then
        # RFC 3442: with classless routes the router option is ignored.
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            if [ "$2" = 0.0.0.0 ]; then
                ip route replace "$1" dev "$interface" metric "$metric"
            else
                ip route replace "$1" via "$2" dev "$interface" metric "$metric"
            fi
            shift 2
        done
    else
        for gateway in $router; do
            ip route replace default via "$gateway" dev "$interface" metric "$metric"
        done
    fi
}

case "$1" in
deconfig)
    ip link set "$interface" up
    ip -4 addr flush dev "$interface"
    rm -f "/run/dhcp/$interface.resolv"
    ;;
bound | renew)
    metric=$((100 + $(cat "/sys/class/net/$interface/ifindex")))
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    ip -4 -o addr show dev "$interface" | grep -q " $ip/$mask " || {
        ip -4 addr flush dev "$interface"
        ip addr add "$ip/$mask" broadcast + dev "$interface"
    }
    set_routes
    {
        for name in ${search:-$domain}; do echo "search $name"; done
        for server in $dns; do echo "nameserver $server"; done
    } >"/run/dhcp/$interface.resolv"
    write_resolv_conf
    if [ -n "$hostname" ] && [ ! -e /var/lib/gureum/instance-id ]; then
        hostname "${hostname%%.*}"
    fi
    [ "$1" = bound ] && echo "gureum: $interface has $ip/$mask" >/dev/console
    ;;
esac
exit 0
