# Completion of kv in bash 4.4 and later.

_kv() {
    local lines
    mapfile -t lines < <(command kv complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    COMPREPLY=("${lines[@]:1}")
    [ "${lines[0]-}" != files ] || compopt -o default
}

complete -o nosort -F _kv kv
