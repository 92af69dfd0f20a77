#!/bin/sh
# Runs every lesson, or those named, and says at the end how each went. `--help` says more.
# Works with any POSIX shell, from any folder.
set -u

usage() {
    cat <<'END'
Usage: scripts/run-all.sh [--limit SECONDS] [LESSON...]

Builds and runs every lesson in lessons/, or those named: 03, 3, pool and
03-pool all mean lessons/03-pool. A table is printed at the end; the exit status is
0 if every lesson ended with 0, 1 if one did not, 2 if nothing could be run.

  --limit SECONDS   how long a lesson may run before it is killed (60)
  -h, --help        show this
END
}

fail() {
    printf 'run-all.sh: %s\n' "$*" >&2
    exit 2
}

now() {
    date +%s
}

# The lesson that runs now.
job=

# A process and its descendants. Where `ps` cannot say (Git for Windows), the process alone.
family() {
    ps -A -o pid= -o ppid= 2>/dev/null | awk -v first="$1" '
        { parent[$1] = $2 }
        END {
            print first
            for (pid in parent) {
                above = parent[pid]
                # Somewhere the first of all is its own parent.
                for (depth = 0; depth < 99 && above in parent && above != first; depth++) above = parent[above]
                if (above == first) print pid
            }
        }'
}

stop_job() {
    [ -n "$job" ] || return 0
    family=$(family "$job")
    # shellcheck disable=SC2086 # one argument for each process
    kill -TERM $family 2>/dev/null
    sleep 0.2
    # shellcheck disable=SC2086
    kill -KILL $family 2>/dev/null
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
    end=$(($(now) + limit))
    cargo run --quiet --bin "$1" </dev/null &
    job=$!
    while kill -0 "$job" 2>/dev/null; do
        if [ "$(now)" -ge "$end" ]; then
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
wanted=
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
    *) wanted="$wanted $1" ;;
    esac
    shift
done
case $limit in
'' | 0* | *[!0-9]*) fail "--limit needs a number of seconds, not '$limit'" ;;
esac

here=$(dirname -- "$0")
cd "$here/.." || fail "cannot change to the folder $here/.."

# Lists of names without spaces, and so without quotes below.
all=
for folder in lessons/[0-9][0-9]-*/; do
    [ -f "${folder}Cargo.toml" ] || continue
    folder=${folder#lessons/}
    all="$all ${folder%/}"
done
[ -n "$all" ] || fail "there are no lessons in $PWD/lessons"

chosen=
for name in ${wanted:-$all}; do
    found=
    for lesson in $all; do
        number=${lesson%%-*}
        case $name in
        "$lesson" | "lessons/$lesson" | "lessons/$lesson/" | "$number" | "${number#0}" | "${lesson#*-}") found=$lesson ;;
        esac
    done
    [ -n "$found" ] || fail "there is no lesson '$name'; there are:$all"
    chosen="$chosen $found"
done

command -v cargo >/dev/null || fail "cargo was not found; install Rust from https://rustup.rs"

# Everything at once: the first time on a machine this takes a while and shows what it does.
bins=
for lesson in $chosen; do
    bins="$bins --bin $lesson"
done
all_built=yes
# shellcheck disable=SC2086
cargo build $bins </dev/null || all_built=no

table=
count=0
failed=0
for lesson in $chosen; do
    printf '\n=== %s ===\n' "$lesson"
    begin=$(now)
    # If not everything could be built, this finds out which lessons cannot.
    if [ $all_built = no ] && ! cargo build --quiet --bin "$lesson" </dev/null; then
        result="does not build"
    else
        begin=$(now)
        run_lesson "$lesson"
    fi
    count=$((count + 1))
    [ "$result" = ok ] || failed=$((failed + 1))
    table=$table$(printf '\n%-16s %-20s %7d' "$lesson" "$result" "$(($(now) - begin))")
done

printf '\n%-16s %-20s %7s%s\n' lesson result seconds "$table"
if [ $failed -gt 0 ]; then
    printf '%d of %d failed.\n' "$failed" "$count"
    exit 1
fi
