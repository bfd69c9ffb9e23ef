#!/bin/sh
# The initramfs: load the disk drivers, find the disk that this machine was started from, grow its
# partition to the disk, and hand over to the init of that disk.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

fail() {
    echo "gureum initramfs: $1"
    exec sh </dev/console >/dev/console 2>&1
}

load_all() {
    [ -n "$all_loaded" ] && return
    all_loaded=yes
    modprobe -aq sd_mod virtio_scsi ata_piix ahci ata_generic xhci-pci ehci-pci uhci-hcd \
        usb-storage uas mptspi sym53c8xx nvme 2>/dev/null
}

# Ours are the disks whose first partition, at 1 MiB, holds a file system with our label.
our_disks() {
    for entry in /sys/block/vd* /sys/block/sd* /sys/block/nvme*; do
        [ -e "$entry" ] || continue
        label=$(dd if="/dev/${entry##*/}" bs=8 skip=131215 count=2 2>/dev/null)
        [ "$label" = gureum-root ] && echo "${entry##*/}"
    done
}

# The firmware's first boot device as its chain of PCI slots, e.g. "02.1 00.0 ".
firmware_chain() {
    head -n 1 /sys/firmware/qemu_fw_cfg/by_name/bootorder/raw 2>/dev/null | tr '/' '\n' |
        while read -r node; do
            case "$node" in
            pci@*) continue ;;
            channel@* | disk@* | drive@* | storage@* | hub@* | usb-*) break ;;
            *@*)
                place=${node#*@}
                slot=${place%%,*}
                function=0
                [ "$slot" != "$place" ] && function=${place#*,}
                [ ${#slot} -eq 1 ] && slot=0$slot
                printf '%s.%s ' "$slot" "$function"
                ;;
            esac
        done
}

firmware_scsi_address() {
    head -n 1 /sys/firmware/qemu_fw_cfg/by_name/bootorder/raw 2>/dev/null | tr -d '\0' |
        sed -n 's|.*/channel@\([0-9a-f]*\)/disk@\([0-9a-f]*\),\([0-9a-f]*\).*|\1:\2:\3|p'
}

disk_chain() {
    readlink -f "/sys/block/$1/device" | tr '/' '\n' |
        sed -n 's/^[0-9a-f]\{4\}:[0-9a-f][0-9a-f]:\([0-9a-f][0-9a-f]\.[0-7]\)$/\1/p' | tr '\n' ' '
}

# Two copies of this image can be plugged in (rescue): the one that the firmware started wins.
choose_disk() {
    disks=$(our_disks)
    chain=$(firmware_chain)
    address=$(firmware_scsi_address)
    on_controller=
    for disk in $disks; do
        [ -n "$chain" ] && [ "$(disk_chain "$disk")" = "$chain" ] || continue
        on_controller="$on_controller $disk"
        case "$(readlink -f "/sys/block/$disk/device")" in
        *:"$address") [ -n "$address" ] && echo "$disk" && return ;;
        esac
    done
    set -- $on_controller
    [ $# -gt 0 ] && echo "$1" && return
    # Nothing known of the firmware's choice: only final when every driver had its turn.
    [ -n "$chain" ] && [ "$tries" -lt 25 ] && return
    set -- $disks
    echo "$1"
}

partition_of() {
    case "$1" in
    *[0-9]) echo "$1p1" ;;
    *) echo "${1}1" ;;
    esac
}

little_endian() {
    printf '\\x%02x\\x%02x\\x%02x\\x%02x' \
        $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}

grow() {
    sectors=$(($(cat "/sys/block/$1/size") - 2048))
    [ "$sectors" -gt 4294967295 ] && sectors=4294967295
    have=$(cat "/sys/block/$1/$(partition_of "$1")/size")
    [ "$(cat "/sys/block/$1/ro")" = 0 ] && [ $((sectors - have)) -gt 8192 ] || return
    printf "$(little_endian "$sectors")" |
        dd of="/dev/$1" bs=1 seek=458 conv=notrunc 2>/dev/null
    blockdev --rereadpt "/dev/$1"
    echo "gureum initramfs: the root partition grows to $((sectors / 2048)) MiB"
    touch /dev/.gureum-grow
}

root=auto
init=/sbin/init
for word in $(cat /proc/cmdline); do
    case "$word" in
    root=*) root=${word#root=} ;;
    init=*) init=${word#init=} ;;
    esac
done

modprobe -aq virtio_pci virtio_blk crc32c_generic crc32c-intel ext4 qemu_fw_cfg
tries=0
device=
while [ "$tries" -lt 150 ]; do
    if [ "$root" = auto ]; then
        disk=$(choose_disk)
        [ -n "$disk" ] && device=/dev/$(partition_of "$disk") && break
    else
        disk=
        [ -b "$root" ] && device=$root && break
    fi
    load_all
    tries=$((tries + 1))
    usleep 200000
done
[ -n "$device" ] || fail "no root disk found ($root)"
[ -n "$disk" ] && grow "$disk"
echo "gureum initramfs: root is $device"
mount -t ext4 -o rw,noatime "$device" /root || fail "cannot mount $device"
echo "$device" >/dev/.gureum-root
mount --move /dev /root/dev
mount --move /sys /root/sys
mount --move /proc /root/proc
exec switch_root /root "$init"
