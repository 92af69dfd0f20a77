#!/usr/bin/env bash
# Runs every lesson, or those named, and says at the end how each went. `--help` says more.
# Works with the bash 3.2 of macOS, from any folder.
set -u

usage() {
    cat <<'END'
Usage: scripts/run-all.sh [--limit SECONDS] [LESSON...]

Builds and runs every lesson in lessons/, or those named: 03, 3, pool and
03-pool all mean lessons/03-pool. At the end comes a table; the exit status is
0 if every lesson ended with 0, 1 if one did not, 2 if nothing could be run.

  --limit SECONDS   how long a lesson may run before it is killed (60)
  -h, --help        show this
END
}

fail() {
    printf 'run-all.sh: %s\n' "$*" >&2
    exit 2
}

# The group of the lesson that runs now: it and everything that it started.
job=

stop_job() {
    [ -n "$job" ] || return 0
    kill -TERM -- "-$job" 2>/dev/null
    sleep 0.2
    kill -KILL -- "-$job" 2>/dev/null
    wait "$job" 2>/dev/null
    job=
}

interrupted() {
    trap '' INT TERM HUP
    stop_job
    printf '\nrun-all.sh: interrupted\n' >&2
    exit 130
}
trap interrupted INT TERM HUP

# Runs one lesson; sets `result`. Its output is not held back.
run_lesson() {
    local end=$((SECONDS + limit)) status
    # With job control the lesson gets a process group of its own, so that it can be ended with its children.
    set -m
    cargo run --quiet --bin "$1" </dev/null &
    job=$!
    set +m
    while kill -0 "$job" 2>/dev/null; do
        if [ "$SECONDS" -ge "$end" ]; then
            stop_job
            result="killed after $limit s"
            return
        fi
        sleep 0.1
    done
    wait "$job" 2>/dev/null
    status=$?
    job=
    case $status in
    0) result=ok ;;
    *) result="exit status $status" ;;
    esac
}

limit=60
wanted=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --limit)
        [ $# -gt 1 ] || fail "--limit needs a number of seconds"
        limit=$2
        shift
        ;;
    --limit=*) limit=${1#--limit=} ;;
    -*) fail "unknown option $1; try --help" ;;
    *) wanted+=("$1") ;;
    esac
    shift
done
case $limit in
'' | 0* | *[!0-9]*) fail "--limit needs a number of seconds, not '$limit'" ;;
esac

here=$(dirname -- "${BASH_SOURCE[0]}")
cd "$here/.." || fail "$here/.. cannot be entered"

all=()
for folder in lessons/[0-9][0-9]-*/; do
    [ -f "${folder}Cargo.toml" ] || continue
    folder=${folder#lessons/}
    all+=("${folder%/}")
done
[ ${#all[@]} -gt 0 ] || fail "there are no lessons in $PWD/lessons"

chosen=()
if [ ${#wanted[@]} -eq 0 ]; then
    chosen=("${all[@]}")
else
    for name in "${wanted[@]}"; do
        found=
        for lesson in "${all[@]}"; do
            number=${lesson%%-*}
            case $name in
            "$lesson" | "lessons/$lesson" | "lessons/$lesson/" | "$number" | "${number#0}" | "${lesson#*-}") found=$lesson ;;
            esac
        done
        [ -n "$found" ] || fail "there is no lesson '$name'; there are: ${all[*]}"
        chosen+=("$found")
    done
fi

command -v cargo >/dev/null || fail "cargo is not to be found: https://rustup.rs installs Rust"

# Everything at once: the first time on a machine this takes a while and shows what it does.
bins=()
for lesson in "${chosen[@]}"; do
    bins+=(--bin "$lesson")
done
all_built=yes
cargo build "${bins[@]}" </dev/null || all_built=no

table=()
failed=0
for lesson in "${chosen[@]}"; do
    printf '\n=== %s ===\n' "$lesson"
    begin=$SECONDS
    # If not everything could be built, it is seen here which lesson cannot.
    if [ $all_built = no ] && ! cargo build --quiet --bin "$lesson" </dev/null; then
        result="does not build"
    else
        begin=$SECONDS
        run_lesson "$lesson"
    fi
    [ "$result" = ok ] || failed=$((failed + 1))
    table+=("$(printf '%-16s %-20s %7d' "$lesson" "$result" "$((SECONDS - begin))")")
done

printf '\n%-16s %-20s %7s\n' lesson result seconds
printf '%s\n' "${table[@]}"
if [ $failed -gt 0 ]; then
    printf '%d of %d failed.\n' "$failed" "${#chosen[@]}"
    exit 1
fi
