#!/bin/busybox sh
# The main child of a virtual machine's PID 1. It says what happens on the console, and ends with exit code 7.
PATH=/bin:/usr/bin
trap "power=yes" PWR
trap "interrupt=yes" INT

wait_for() {  # the name of a variable, which a trap sets
    tries=0
    until eval "[ \"\$$1\" ]" || [ $((tries += 1)) -gt 500 ]; do busybox usleep 20000; done
    eval "echo \"$1: \${$1:-no}\""
}

busybox mount -t proc proc /proc
echo "child of $PPID: $*"
. /orphans.sh

busybox kill -PWR 1
wait_for power

[ "$1" = "hard" ] || echo 0 > /proc/sys/kernel/ctrl-alt-del
echo "press Ctrl-Alt-Del"
[ "$KEYBOARD" = "no" ] && busybox kill -INT 1  # as the kernel does
wait_for interrupt
exit 7
