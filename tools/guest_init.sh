#!/bin/busybox sh
# The guest's first process: it says once what it has, then counts seconds for as long as it runs.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/modules/$module.ko"; done </lib/modules/order

nonce=$(sed -n 's/.*virtyard\.nonce=\([^ ]*\).*/\1/p' /proc/cmdline)
memory=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
cpus=$(grep -c '^processor' /proc/cpuinfo)
disks=""
for disk in /sys/block/vd*; do
    [ -e "$disk/size" ] || continue
    disks="$disks${disks:+,}$(cat "$disk/serial" 2>/dev/null):$(($(cat "$disk/size") * 512))"
done
nics=""
for nic in /sys/class/net/*; do
    [ -e "$nic/device" ] && nics="$nics${nics:+,}$(cat "$nic/address")"
done
echo "VIRTYARD nonce=$nonce memory_kib=$memory cpus=$cpus disks=$disks nics=$nics ."

# The power button: whatever it says, the guest goes down, unless it was told to be deaf.
if ! grep -q virtyard.deaf /proc/cmdline; then
    for events in /dev/input/event*; do
        [ -c "$events" ] && { head -c 1 "$events" >/dev/null && echo "SHUTTING DOWN" && poweroff -f; } &
    done
fi

# The network, if an address is given: it is put on the first card, and the peer, if one is named, is asked until it answers.
address=$(sed -n 's/.*virtyard\.address=\([^ ]*\).*/\1/p' /proc/cmdline)
peer=$(sed -n 's/.*virtyard\.peer=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -n "$address" ]; then
    ip address add "$address" dev eth0
    ip link set eth0 up
    if [ -n "$peer" ]; then
        { until ping -c 1 -W 1 "$peer" >/dev/null 2>&1; do sleep 1; done; echo "REACHED $peer"; } &
    fi
fi

tick=0
while :; do
    tick=$((tick + 1))
    echo "TICK $tick"
    sleep 1
done
