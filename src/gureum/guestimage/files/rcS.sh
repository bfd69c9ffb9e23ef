#!/bin/sh
# What init runs once: file systems, drivers, network, then the agent and sshd side by side.
export PATH=/usr/bin
say() { echo "gureum: $1"; }

say "starting $(cat /etc/gureum-release) on $(uname -r)"
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/dhcp /run/lock /run/blkid
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/mounts /etc/mtab
root=$(cat /dev/.gureum-root)
ln -sf "$root" /dev/root
say "root file system $(df -m / | awk 'NR==2 {print $2 " MiB, " $4 " MiB free"}') on $root"

# Only the network's drivers now: the rest is loaded while sshd already answers.
modprobe -aq virtio-rng virtio_net
for device in /sys/bus/pci/devices/*; do
    case "$(cat "$device/class")" in 0x02*) cat "$device/modalias" ;; esac
done 2>/dev/null | xargs -r modprobe -abq 2>/dev/null

sysctl -q -p /etc/sysctl.conf
hostname "$(cat /etc/hostname)"
ip link set lo up
for entry in /sys/class/net/eth*; do
    [ -e "$entry" ] || continue
    nic=${entry##*/}
    say "network $nic $(cat "$entry/address")"
    ip link set "$nic" up
    udhcpc -i "$nic" -p "/run/udhcpc.$nic.pid" -b -R -t 8 -T 1 -A 5 -S \
        -O 121 -O 26 -O 6 -O 15 -O 12 -s /etc/gureum/udhcpc >/dev/null 2>&1 </dev/null &
done

mkdir -p /etc/dropbear
dropbear -R -p 22 -P /run/dropbear.pid
say "sshd is listening"

start_guest_agent() {
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
        qemu-ga -d -m virtio-serial -p "/dev/${port##*/}" -f /run/qemu-ga.pid
        say "qemu guest agent on /dev/${port##*/}"
    done
}

finish() {
    modprobe -aq button evdev
    acpid -p /run/acpid.pid 2>/dev/null
    # Drivers for whatever is plugged in, and for what tests plug in later: devices that appear
    # afterwards find their driver loaded, so nothing has to watch for them.
    sort -u /sys/bus/*/devices/*/modalias | xargs modprobe -abq 2>/dev/null
    modprobe -q sr_mod
    /etc/gureum/agent &
    # One processor is the rule: keys and name first, then drivers that nothing needs yet.
    tries=0
    while [ "$tries" -lt 20 ] && [ ! -e /run/gureum-agent.ready ]; do
        usleep 500000
        tries=$((tries + 1))
    done
    modprobe -aq virtio_console virtio_balloon virtio_scsi sd_mod loop
    say "drivers loaded: $(wc -l </proc/modules)"
    start_guest_agent
    [ -e /dev/.gureum-grow ] && resize2fs "$root" >/dev/null 2>&1
}
finish </dev/null >/dev/console 2>&1 &
say "up after $(cut -d' ' -f1 /proc/uptime) s"
