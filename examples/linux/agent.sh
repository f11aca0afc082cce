#!/bin/sh
# Stands for the software that a layer is made of.
set -eu
mkdir -p /var/lib/agent /var/log/agent
case $1 in
  --first-start)
    cat /proc/sys/kernel/random/boot_id >/var/lib/agent/first-boot
    echo "first start" >>/var/log/agent/agent.log
    ;;
  --enrol)
    [ "$(cat /proc/sys/kernel/random/boot_id)" != "$(cat /var/lib/agent/first-boot)" ] || {
      echo "restart the machine first" >&2
      exit 1
    }
    printf '%s' "$2" | sha256sum | cut -d ' ' -f 1 >/var/lib/agent/identity
    echo "enrolled" >>/var/log/agent/agent.log
    ;;
  *)
    echo "usage: agent --first-start | --enrol TOKEN" >&2
    exit 2
    ;;
esac
