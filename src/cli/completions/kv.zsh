#compdef kv
# Completion of kv in zsh.

_kv() {
    local -a lines names
    local kind
    lines=("${(@f)$(command kv complete zsh -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=${lines[1]}
    lines=("${(@)lines[2,-1]}")
    names=("${(@)lines%%$'\t'*}")
    # The rest of the word is the value of an option.
    [[ $PREFIX != --*=* ]] || compset -P '--*='
    case $kind in
        files) _files ;;
        words)
            lines=("${(@)lines/$'\t'/:}")
            _describe -V kv lines
            ;;
        names) compadd -V kv -a names ;;
    esac
}

if [ "$funcstack[1]" = _kv ]; then
    _kv "$@"
else
    compdef _kv kv
fi
