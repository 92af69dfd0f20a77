#!/bin/sh
# Redraws the pictures in the lessons' READMEs, each from a real run: scripts/pictures.sh, from any folder. Draw them where
# nothing else runs, and look at each: a busy machine makes bars longer than the work was.
set -u

case ${1-} in
'') ;;
-h | --help)
    printf 'Usage: scripts/pictures.sh\n\nRuns lessons and examples with TIMELINE set, and puts the pictures beside the READMEs.\n'
    exit 0
    ;;
*)
    printf 'usage: scripts/pictures.sh\n' >&2
    exit 2
    ;;
esac

here=$(dirname -- "$0")
cd "$here/.." || exit 2
command -v cargo >/dev/null || {
    printf 'pictures.sh: cargo was not found; install Rust from https://rustup.rs\n' >&2
    exit 2
}

failed=0

# draw PICTURE, then what follows `cargo run`
draw() {
    picture=$PWD/lessons/$1
    shift
    printf '%s\n' "$picture"
    rm -f "$picture"
    if ! TIMELINE=$picture cargo run --quiet "$@" </dev/null >/dev/null || [ ! -s "$picture" ]; then
        printf 'pictures.sh: no picture was drawn by: cargo run %s\n' "$*" >&2
        failed=1
    fi
}

draw 03-pool/timeline.svg --bin 03-pool
draw 03-pool/crash.svg -p pool --example crash
draw 05-threads/cores.svg --release -p threads --example cores
draw 06-lock/turns.svg -p lock --example turns
draw 06-lock/deadlock.svg -p lock --example deadlock
exit $failed
