#!/bin/busybox sh
# The first process of a kernel under test. Lines that begin with @@ are for xtask.
export PATH=/usr/sbin:/bin
busybox mkdir -p /proc /sys /dev /tmp /run /root
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t bpf bpf /sys/fs/bpf
[ -c /dev/null ] || busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs tmp /tmp
ip link set lo up
export PENSTOCK_EBPF_OBJECT=/penstock.bpf.o PENSTOCK_REQUIRE=bpf,netns RUST_BACKTRACE=0

# The second load replaces the program of the first.
tc_comes_and_goes() {
    /penstock l4 load --l4 tc --interface lo || return 11
    /penstock l4 load --l4 tc --interface lo || return 12
    busybox ping -c 3 127.0.0.1 || return 13
    /penstock l4 counters
    /penstock l4 counters | busybox grep -q '^not_vip ' || return 14
    # By its path, or busybox takes its own.
    /usr/sbin/tc filter show dev lo ingress
    /penstock l4 unload || return 15
    filters=$(/usr/sbin/tc filter show dev lo ingress) || return 16
    [ -z "$filters" ] || return 17
}

echo "@@ release $(busybox uname -r)"
/testbed verify /penstock.bpf.o
echo "@@ verify $?"
if [ "$(busybox cat /expectation)" = refused ]; then
    busybox mkdir -p /m
    busybox timeout 60 /penstock run --manifests /m --vip 192.0.2.10 --interface lo --node-name n1 \
        --http-port 8080 --https-port 8443
    echo "@@ agent $?"
else
    /penstock l4 load --interface lo && /penstock l4 counters && /penstock l4 unload
    echo "@@ agent $?"
    # Links for tc came with Linux 6.6; before, a filter takes their place.
    for module in /modules/*.ko; do
        [ ! -f "$module" ] || busybox insmod "$module"
    done
    tc_comes_and_goes
    echo "@@ tc $?"
    if [ -f /packet ]; then
        /packet --test-threads=2
        echo "@@ packet $?"
    fi
fi
echo "@@ end"
busybox poweroff -f
