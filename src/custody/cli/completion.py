"""`custody completion`: the scripts by which shells ask `custody.cli.candidates` when somebody presses TAB."""

from __future__ import annotations

import click

SCRIPTS = {
    "bash": """\
# custody completion bash: source <(custody completion bash), or save it in /etc/bash_completion.d
_custody() {
    local cur=${COMP_WORDS[COMP_CWORD]} value
    case $cur in =|:) cur= ;; esac
    COMPREPLY=()
    while IFS=$'\\t' read -r value _; do
        case $value in
            file) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
            dir) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur") ;;
            *[=:]) compopt -o nospace; COMPREPLY+=("$value") ;;
            ?*) COMPREPLY+=("$value") ;;
        esac
    done < <(_CUSTODY_COMPLETE=bash "$1" "${COMP_LINE:0:COMP_POINT}" "$cur" 2>/dev/null)
}
complete -F _custody custody
""",
    "zsh": """\
#compdef custody
# custody completion zsh: save it as _custody in a folder of $fpath, or source <(custody completion zsh)
_custody() {
    local line value text
    local -a plain
    for line in "${(@f)$(_CUSTODY_COMPLETE=zsh "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        value=${line%%$'\\t'*} text=${line#*$'\\t'}
        case $value in
            file) compset -P '*='; compset -P '*:'; _files ;;
            dir) compset -P '*='; compset -P '*:'; _files -/ ;;
            ?*) plain+=("${value//:/\\\\:}:$text") ;;
        esac
    done
    (( ${#plain} )) && _describe -V custody plain
}
if [[ ${funcstack[1]-} == _custody ]]; then _custody "$@"; else compdef _custody custody; fi
""",
    "fish": """\
# custody completion fish: save it as ~/.config/fish/completions/custody.fish, or custody completion fish | source
function __custody_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (env _CUSTODY_COMPLETE=fish $words[1] $words[2..-1] 2>/dev/null)
        switch $line
            case file
                __fish_complete_path (string replace -r '.*[=:]' '' -- (commandline -ct))
            case dir
                __fish_complete_directories (string replace -r '.*[=:]' '' -- (commandline -ct))
            case '*'
                echo $line
        end
    end
end
complete -c custody -f -a '(__custody_complete)'
""",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def command(shell: str) -> None:
    """Print a script that completes commands, options, choices and files.

    bash: `source <(custody completion bash)` in ~/.bashrc; zsh: save it as _custody in a folder of $fpath; fish: save
    it as ~/.config/fish/completions/custody.fish.
    """
    click.echo(SCRIPTS[shell], nl=False)
