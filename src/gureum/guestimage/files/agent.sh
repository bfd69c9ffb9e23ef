#!/bin/sh
# The metadata agent: the config drive if there is one, else http://169.254.169.254 (OpenStack's
# paths, then EC2's). What belongs to an instance is set once per instance id, so that a snapshot
# started as a new server gets the new server's keys, name, password, files and user data.
export PATH=/usr/bin
user=gureum
state=/var/lib/gureum
work=/run/gureum-agent
base=http://169.254.169.254
mkdir -p "$state" "$work"

trap 'touch /run/gureum-agent.ready' EXIT
say() { echo "gureum agent: $1"; }
get() { curl -sf --connect-timeout 3 --max-time 20 -o "$2" "$1"; }
ask() { jq -r "$1" "$work/meta_data.json" 2>/dev/null; }

from_config_drive() {
    tries=0
    # A CD-ROM drive shows up a moment after its driver was loaded; each look costs half a second
    # where there is no KVM, so the first look that saw a drive is the last but one.
    while [ "$tries" -lt 5 ]; do
        device=$(blkid -L config-2 -o device) && break
        ls /sys/class/scsi_host 2>/dev/null | grep -q . || break
        [ -e /sys/block/sr0 ] && [ "$tries" -lt 3 ] && tries=3
        tries=$((tries + 1))
        usleep 200000
    done
    [ -n "$device" ] || device=$(blkid -L CONFIG-2 -o device)
    [ -n "$device" ] || return 1
    mkdir -p "$work/drive"
    mount -o ro "$device" "$work/drive" || return 1
    cp -r "$work/drive/openstack/latest/." "$work/"
    [ -d "$work/drive/openstack/content" ] && cp -r "$work/drive/openstack/content" "$work/"
    umount "$work/drive"
    [ -s "$work/meta_data.json" ] && source="config drive $device"
}

from_openstack() {
    get "$base/openstack/latest/meta_data.json" "$work/meta_data.json" &&
        [ "$(ask .uuid)" != null ] || return 1
    get "$base/openstack/latest/user_data" "$work/user_data"
    mkdir -p "$work/content"
    for path in $(ask '.files[]?.content_path'); do
        get "$base/openstack$path" "$work$path"
    done
    source="$base/openstack"
}

from_ec2() {
    get "$base/latest/meta-data/instance-id" "$work/id" || return 1
    get "$base/latest/meta-data/hostname" "$work/name"
    : >"$work/keys"
    if get "$base/latest/meta-data/public-keys/" "$work/list"; then
        for index in $(cut -d= -f1 "$work/list"); do
            get "$base/latest/meta-data/public-keys/$index/openssh-key" "$work/key" &&
                cat "$work/key" >>"$work/keys" && echo >>"$work/keys"
        done
    fi
    jq -n --rawfile id "$work/id" --rawfile name "$work/name" --rawfile keys "$work/keys" \
        '{uuid: $id, hostname: $name, public_keys: {all: $keys}}' >"$work/meta_data.json"
    get "$base/latest/user-data" "$work/user_data"
    source="$base/latest"
}

find_source() {
    from_config_drive && return 0
    wait_s=1
    tries=0
    while [ "$tries" -lt 40 ]; do
        # A lease first: asking without an address only costs the connection timeout.
        if ip -4 -o addr show scope global | grep -q . ||
            ip -4 -o addr show scope link | grep -q 169.254; then
            from_openstack && return 0
            from_ec2 && return 0
            tries=$((tries + 3))
            sleep 2
        else
            tries=$((tries + 1))
            sleep 1
        fi
    done
    return 1
}

set_hostname() {
    short=${full%%.*}
    [ -n "$short" ] || return
    hostname "$short"
    echo "$short" >/etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 %s %s\n::1 localhost ip6-localhost\n' \
        "$full" "$short" >/etc/hosts
    say "hostname is $short"
}

set_keys() {
    mkdir -p "/home/$user/.ssh"
    ask '(.public_keys // {}) | .[]' | grep . >"/home/$user/.ssh/authorized_keys"
    chmod 700 "/home/$user/.ssh"
    chmod 600 "/home/$user/.ssh/authorized_keys"
    chown -R "$user:$user" "/home/$user/.ssh"
    say "$(grep -c . "/home/$user/.ssh/authorized_keys") authorized keys"
}

set_password() {
    [ -n "$password" ] || return
    printf '%s:%s\nroot:%s\n' "$user" "$password" "$password" | chpasswd &&
        say "password of $user is set"
}

write_files() {
    index=0
    while [ "$index" -lt "$count" ]; do
        path=$(ask ".files[$index].path")
        content=$(ask ".files[$index].content_path")
        mkdir -p "$(dirname "$path")"
        cp "$work$content" "$path" && say "wrote $path"
        index=$((index + 1))
    done
}

# A host key belongs to one instance: a copy of its disk makes its own.
renew_host_keys() {
    rm -f /etc/dropbear/dropbear_*_host_key
    kill "$(cat /run/dropbear.pid)" 2>/dev/null
    dropbear -R -p 22 -P /run/dropbear.pid
}

run_part() {
    chmod 700 "$1"
    "$1" >>/var/log/user-data.log 2>&1
    say "user data script ended with $?"
}

run_user_data() {
    data="$work/user_data"
    [ -s "$data" ] || return
    [ "$(head -c 2 "$data" | hexdump -v -e '1/1 "%02x"')" = 1f8b ] &&
        gunzip -c "$data" >"$data.plain" && mv "$data.plain" "$data"
    mkdir -p "$state/user-data"
    if [ "$(head -c 2 "$data")" = '#!' ]; then
        cp "$data" "$state/user-data/script"
        run_part "$state/user-data/script"
    elif head -n 40 "$data" | grep -qi '^content-type: multipart/'; then
        split_parts "$data"
        for part in "$state"/user-data/part-*; do
            [ "$(head -c 2 "$part" 2>/dev/null)" = '#!' ] && run_part "$part"
        done
    else
        say "user data of a kind that is not run here"
    fi
}

# The parts of a MIME message, each without its headers; bodies in base64 are decoded.
split_parts() {
    tr -d '\r' <"$1" | awk -v folder="$state/user-data" '
        boundary == "" && /boundary="?[^";]+/ {
            match($0, /boundary="?[^";]+/)
            boundary = "--" substr($0, RSTART + 9, RLENGTH - 9)
            sub(/^--"/, "--", boundary)
            next
        }
        boundary != "" && index($0, boundary) == 1 {
            if (name != "") close(name)
            number++; body = 0; name = ""
            next
        }
        number && !body && /^$/ {
            body = 1
            name = folder "/part-" number
            if (encoded) { name = name ".b64" }
            encoded = 0
            next
        }
        number && !body && tolower($0) ~ /^content-transfer-encoding: *base64/ { encoded = 1 }
        body { print > name }'
    for file in "$state"/user-data/part-*.b64; do
        [ -e "$file" ] && base64 -d "$file" >"${file%.b64}" && rm "$file"
    done
}

source=
if ! find_source; then
    say "no metadata found"
    exit 0
fi
say "metadata from $source"
# One start of jq for all: it takes a third of a second where there is no KVM.
eval "$(ask '@sh "id=\(.uuid) full=\((.hostname // .name // "") | split("\n")[0] // "") "
    + @sh "password=\(.admin_pass // "") count=\(.files // [] | length)"')"
id=$(printf '%s' "$id" | tr -cd 'A-Za-z0-9._-')
old=$(cat "$state/instance-id" 2>/dev/null)
if [ "$id" = "$old" ]; then
    say "instance $id is known"
    exit 0
fi
[ -n "$old" ] && renew_host_keys
set_hostname
set_keys
set_password
write_files
echo "$id" >"$state/instance-id"
rm -rf "$state/user-data"
touch /run/gureum-agent.ready
sync
run_user_data
rm -rf "$work"
say "instance $id is set up after $(cut -d' ' -f1 /proc/uptime) s"
