#compdef rbee rbee-keeper
# source <(rbee completion zsh)
_rbee() {
	local -a found
	found=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then
		compadd -- "${found[@]}"
	else
		_files
	fi
}
compdef _rbee rbee rbee-keeper
