#!/bin/sh
# A driver that knows contract 1 and nothing else. Frozen: it stands for every agent that was ever
# delivered with it, so it is never edited, only joined by a driver of the next contract.
#
# usage: driver.sh PACKAGE ORDER
# Starts the entrypoint as contract 1 says, checks what it says, and prints how it answered.
set -u
package=$1
order=$2
out=$(mktemp)
env -i PATH=/usr/bin:/bin "$package/handover/upgrade" run --contract 1 --order "$order" \
    >"$out" 2>/dev/null </dev/null
code=$?
bad=0
while IFS= read -r line; do
    case $line in
    '{"stage":"update_download",'* | '{"stage":"update_verify",'* | \
        '{"stage":"update_install",'* | '{"stage":"update_healthcheck",'* | \
        '{"stage":"update_rollback",'*) ;;
    *) bad=1 ;;
    esac
    case $line in
    *'"step":"'*'"detail":"'*'"}') ;;
    *) bad=1 ;;
    esac
done <"$out"
[ -s "$out" ] || bad=1
rm -f "$out"
[ "$bad" = 0 ] || { echo malformed; exit 1; }
case $code in
0) echo trial ;;
3) echo refused ;;
4) echo reverted ;;
*) echo unknown ;;
esac
