#!/bin/sh
# nc as tests call it (-l -k -u -e PROGRAM ARGS… -p PORT -w SECONDS), in terms of socat. socat is
# started under the name nc, so that pidof and killall find it.
socat=/usr/lib/gureum/nc
listen= keep= protocol=TCP port= wait_s= program= host=
while [ $# -gt 0 ]; do
    case "$1" in
    -e)
        shift
        program=$*
        break
        ;;
    -p | -w | -s)
        case "$1" in -p) port=$2 ;; -w) wait_s=$2 ;; esac
        shift
        ;;
    -*)
        letters=${1#-}
        case "$letters" in *u*) protocol=UDP ;; esac
        case "$letters" in *k* | *ll*) keep=yes ;; esac
        case "$letters" in *l*) listen=yes ;; esac
        case "$letters" in
        *p) port=$2; shift ;;
        *w) wait_s=$2; shift ;;
        *e) shift; program=$*; break ;;
        esac
        ;;
    *) if [ -z "$host" ]; then host=$1; else port=$1; fi ;;
    esac
    shift
done
peer=-
[ -n "$program" ] && peer="EXEC:$program"
if [ -n "$listen" ]; then
    [ -n "$port" ] || port=$host
    fork=
    [ -n "$keep" ] && fork=,fork
    # An endless input such as /dev/zero must not flood whoever connects to a program.
    exec "$socat" -t 1 "${protocol}6-LISTEN:$port,ipv6only=0,reuseaddr$fork" "$peer"
fi
case "$host" in *:*) host="[$host]" ;; esac
if [ "$protocol" = UDP ]; then
    exec "$socat" -t "${wait_s:-1}" -T "${wait_s:-30}" "$peer" "UDP:$host:$port"
fi
exec "$socat" -t "${wait_s:-1}" ${wait_s:+-T "$wait_s"} "$peer" \
    "TCP:$host:$port${wait_s:+,connect-timeout=$wait_s}"
