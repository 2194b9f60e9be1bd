#!/usr/bin/env bash
# A client of kv with nc and jq: put, get, compare-and-set, and a subscription that resumes.
set -uo pipefail
error='no daemon was found'

fail() { echo "kv.sh: $1" >&2; exit 1; }

# Connects to the daemon of the store. `kv socket` finds the daemon, or starts it.
connect() {
    local socket
    socket=${KV_SOCKET:-$(kv socket)} || return
    coproc nc { exec nc -U "$socket" 2>/dev/null; }
    pid=$nc_PID
    exec {from}<&"${nc[0]}" {to}>&"${nc[1]}"
    trap 'kill "$pid" 2>/dev/null' EXIT
}

disconnect() {
    exec {from}<&- {to}>&-
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

# Sets `line` to the next line, and `error` to the error in it. A line without its newline was cut off.
receive() {
    IFS= read -r -u "$from" line || line='{"error":{"code":"unavailable","message":"the daemon went away","retry":true}}'
    error=$(jq -r '.error // empty | "\(.message) (\(.code))"' <<<"$line")
    [ -z "$error" ]
}

# Sends the request that jq makes of the words, and receives its reply.
call() {
    jq -nc "$@" >&"$to" 2>/dev/null
    receive
}

increment() {
    local record
    while :; do
        call --arg key "$1" '{op: "get", keys: [$key]}'
        record=$(jq -c '.records[0] // {version: 0, value: 0}' <<<"$line") # Version 0: only if the key is still absent.
        [ -z "$error" ] && call --arg key "$1" --argjson old "$record" \
            '{op: "put", key: $key, value: ($old.value + 1), version: $old.version}'
        [[ $error == *"(version_mismatch)" ]] || break
    done
    [ -n "$error" ] || jq '.value + 1' <<<"$record"
}

# Prints the changes after a seq, each once and in order, from one daemon after the other.
follow() {
    local after=${2:-'"now"'} epoch=null
    while connect; do
        call --arg prefix "$1" --argjson after "$after" --argjson epoch "$epoch" \
            '{op: "subscribe", prefix: $prefix, after: $after} + if $epoch then {epoch: $epoch} else {} end'
        while [ -z "$error" ]; do
            epoch=$(jq ".epoch // $epoch" <<<"$line")
            after=$(jq "if .event or $after == \"now\" then .seq // $after else $after end" <<<"$line")
            jq -r 'select(.event == "change") | "\(.seq) \(.action) \(.record.key)"' <<<"$line"
            receive
        done
        disconnect
        [ "$epoch" != null ] && jq -e .error.retry <<<"$line" >/dev/null || break # It never began, or cannot go on.
        sleep 0.1
    done
}

[ "$1" = follow ] || connect || exit
case $1 in
    put) call --arg key "$2" --argjson value "$3" '{op: "put", key: $key, value: $value}' && jq .version <<<"$line" ;;
    get) call --arg key "$2" '{op: "get", key: $key}' && jq -c .value <<<"$line" ;;
    increment) increment "$2" ;;
    follow) follow "${@:2}" ;;
esac
[ -z "$error" ] || fail "$error"
