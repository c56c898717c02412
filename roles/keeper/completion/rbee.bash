# source <(rbee completion bash)
_rbee() {
	local line="${COMP_LINE:0:COMP_POINT}" words cur IFS
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	cur="${words[${#words[@]}-1]}"
	IFS=$'\n'
	COMPREPLY=($("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null))
	if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then # what stands before a colon is a word of its own
		COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
	fi
}
complete -o default -F _rbee rbee rbee-keeper
