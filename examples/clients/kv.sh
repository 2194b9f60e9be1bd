#!/usr/bin/env bash
# A client of kv with nc and jq: put, get, compare-and-set, and a subscription that resumes.
set -uo pipefail
trap '' PIPE
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
    error=
    [[ $line != *'"error":'* ]] || error=$(jq -r '.error // empty | "\(.message) (\(.code))"' <<<"$line")
    [ -z "$error" ]
}

# Sends a request, and receives its reply.
call() {
    printf '%s\n' "$1" >&"$to" 2>/dev/null
    receive
}

increment() {
    local request
    while :; do
        call "$(jq -nc --arg key "$1" '{op: "get", keys: [$key]}')" || break
        request=$(jq -c --arg key "$1" '(.records[0] // {version: 0, value: 0}) as $old # Version 0: only if it is still absent.
            | {op: "put", key: $key, value: ($old.value + 1), version: $old.version}' <<<"$line")
        call "$request" && jq .value <<<"$request"
        [[ $error == *"(version_mismatch)" ]] || break
    done
}

# Prints the changes after a seq, each once and in order, from one daemon after the other.
follow() {
    local after=${2:-'"now"'} epoch=null
    while connect; do
        call "$(jq -nc --arg prefix "$1" --argjson after "$after" --argjson epoch "$epoch" \
            '{op: "subscribe", prefix: $prefix, after: $after} + if $epoch then {epoch: $epoch} else {} end')"
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
    put) call "$(jq -nc --arg key "$2" --argjson value "$3" '{op: "put", key: $key, value: $value}')" && jq .version <<<"$line" ;;
    get) call "$(jq -nc --arg key "$2" '{op: "get", key: $key}')" && jq -c .value <<<"$line" ;;
    increment) increment "$2" ;;
    follow) follow "${@:2}" ;;
esac
[ -z "$error" ] || fail "$error"
