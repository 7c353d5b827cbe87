#!/bin/sh
# The first process of a test machine: runs the tests that it was given, and says everything on the second serial port.
export PATH=/usr/sbin:/usr/bin HOME=/root RUST_BACKTRACE=0 WEFT_PATIENCE=10
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 -opost
mkdir -p /dev/pts /dev/shm
while read -r kind place; do
    mount -t "$kind" "$kind" "$place" || echo "cannot mount $place"
done <<MOUNTS
proc /proc
sysfs /sys
devpts /dev/pts
tmpfs /dev/shm
bpf /sys/fs/bpf
cgroup2 /sys/fs/cgroup
tracefs /sys/kernel/tracing
MOUNTS
ip link set lo up
# Before 5.11 programs and maps are locked memory.
ulimit -l unlimited
ulimit -n 65536
echo "== release $(uname -r)"
echo "weft: the tests begin" >/dev/kmsg
while read -r program tests; do
    echo "== run $program"
    # Each name is a word.
    timeout -s KILL 900 "/weft/$program" --exact --test-threads=1 --color=never $tests </dev/null
    echo "== exit $program $?"
done </weft/plan
echo "== log"
dmesg -r | sed -n '/weft: the tests begin/,$p'
echo "== taint $(cat /proc/sys/kernel/tainted)"
echo "== end"
poweroff -f
