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

tick=0
while :; do
    tick=$((tick + 1))
    echo "TICK $tick"
    sleep 1
done
