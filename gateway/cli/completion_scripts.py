"""Scripts that make shells ask for completions. Each completes ``onpath`` wherever it is called from."""

from __future__ import annotations

from typing import Final

BASH: Final = r"""# bash completion for onpath:  source <(onpath completion bash)
_onpath() {
    local line word
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
        :files) COMPREPLY=(); compopt -o default; return ;;
        :nospace) compopt -o nospace ;;
        ?*)
            word="${line%%$'\t'*}"
            if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" || "${COMP_WORDS[COMP_CWORD - 1]}" == "=" ]]; then
                word="${word#*=}" # bash cuts words at =
            fi
            printf -v word '%q' "$word"
            COMPREPLY+=("$word")
            ;;
        esac
    done < <("${COMP_WORDS[0]}" completion --words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _onpath onpath
"""

ZSH: Final = r"""#compdef onpath
# zsh completion for onpath:  source <(onpath completion zsh), or as _onpath in a folder of $fpath
_onpath() {
    local line word
    local -a values shown more
    for line in "${(@f)$("${words[1]}" completion --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$line" in
        :files) _files; return ;;
        :nospace) more=(-S '') ;;
        ?*)
            word="${line%%$'\t'*}"
            values+=("$word")
            if [[ "$line" == *$'\t'* ]]; then shown+=("${(r:24:)word} ${line#*$'\t'}"); else shown+=("$word"); fi
            ;;
        esac
    done
    (( ${#values} )) && compadd "${more[@]}" -l -d shown -- "${values[@]}"
}
if [ "$funcstack[1]" = "_onpath" ]; then _onpath "$@"; else compdef _onpath onpath; fi
"""

FISH: Final = r"""# fish completion for onpath:  onpath completion fish | source
function __onpath_words
    set -l typed (commandline -opc) (commandline -ct)
    for line in ($typed[1] completion --words -- $typed[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':nospace'
            case '*'
                echo $line
        end
    end
end
complete -c onpath -f -a '(__onpath_words)'
"""

SCRIPTS: Final = {"bash": BASH, "zsh": ZSH, "fish": FISH}
