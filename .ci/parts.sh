# shellcheck shell=bash
# Parts of a run that are called by name, for .ci/run and .ci/nightly. The caller gives its
# arguments: the parts that are wanted, -l to list them, nothing for all.

failed=() times=()
# With spaces around each name.
wanted=" $* " known=" "

minutes() { printf '%3d min %02d s' $(($1 / 60)) $(($1 % 60)); }

# step COMMAND...: a part, which is called as the command: a function, or a script's name, or
# the directory of one that is called run.
step() {
    local name=${1%/run}
    name=${name##*/}
    known+="$name "
    [[ $wanted == "  " || $wanted == *" $name "* ]] || return 0
    echo "== $*"
    local start=$SECONDS time result=passed
    "$@" || { failed+=("$*"); result=failed; }
    time=$(minutes $((SECONDS - start)))
    times+=("$time  $result  $*")
    echo "== $result in $time: $*"
}

# all_wanted reports whether all parts were to run. With -l it prints the list of parts and
# exits.
all_wanted() {
    local part
    if [[ $wanted == *" -l "* ]]; then
        xargs -n 1 <<<"$known"
        exit
    fi
    for part in $wanted; do
        [[ $known == *" $part "* ]] || failed+=("$part: there is no such part: $0 -l lists them")
    done
    [[ $wanted == "  " ]]
}

# report prints the parts by the time that they took, and those that failed.
report() {
    printf '%s\n' ${times[@]+"${times[@]}"} "$(minutes "$SECONDS")  in all"
    ((${#failed[@]} == 0)) || printf 'failed: %s\n' "${failed[@]}"
}
