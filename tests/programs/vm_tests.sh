#!/bin/busybox sh
# PID 1 of a virtual machine: run the tests that /tests names, write their report to the port that $PORT names, and end.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYINIT_TEST_DEADLINE=120
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mkdir -p /dev/pts /dev/shm /root
busybox mount -t devpts -o ptmxmode=666 devpts /dev/pts
busybox mount -t tmpfs tmpfs /dev/shm
busybox mount -t tmpfs tmpfs /tmp
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+pids +cpu" > /sys/fs/cgroup/cgroup.subtree_control
echo "Linux $(busybox uname -r)"
cd /checkout || exit
set -f  # the names of tests have brackets
python3 -m pytest --processes=1 -p no:cacheprovider --color=no --junit-xml=/tmp/report.xml -q -rfE --tb=short --durations=20 \
    --timeout=400 $(busybox cat /tests)
busybox cat /tmp/report.xml > "/dev/$PORT"
busybox poweroff -f
