# Completion of kv in fish.

function __kv_complete
    set -l token (commandline --current-token --cut-at-cursor)
    set -l word (string unescape -- $token; or printf '%s' $token)
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l lines (command kv complete fish -- $words "$word" 2>/dev/null)
    if test "$lines[1]" = files
        set -l option (string match --regex -- '^--[^=]*=' $token)
        __fish_complete_path (string replace -- "$option" '' $token) | string replace --regex '^' -- "$option"
    else if set -q lines[2]
        printf '%s\n' $lines[2..]
    end
end

complete --command kv --no-files --keep-order --arguments '(__kv_complete)'
