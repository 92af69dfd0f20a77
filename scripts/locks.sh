#!/bin/sh
# Regenerates the lock file of each lesson. A copy contains it, and so builds the same versions as the course. Run it after
# every change of a dependency.
set -eu

check=no
case ${1-} in
'') ;;
--check) check=yes ;;
-h | --help)
    cat <<'END'
Usage: scripts/locks.sh [--check]

Writes lessons/*/Cargo.lock: what each lesson needs of the workspace's Cargo.lock.

  --check      change nothing; the exit status is 1 if a lock file is out of date
  -h, --help   show this
END
    exit 0
    ;;
*)
    printf 'usage: scripts/locks.sh [--check]\n' >&2
    exit 2
    ;;
esac

cd "$(dirname -- "$0")/.."
root=$PWD
scratch=$(mktemp -d "${TMPDIR:-/tmp}/locks-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# Outside of the workspace, as a copy is. Cargo keeps the versions that it finds, and drops what the lesson does not need.
ln -s "$root/common" "$scratch/common"
mkdir "$scratch/lessons"
status=0
for lesson in lessons/[0-9][0-9]-*; do
    cp -R "$lesson" "$scratch/lessons"
    cp Cargo.lock "$scratch/$lesson"
    (cd "$scratch/$lesson" && cargo metadata --quiet --format-version 1 >/dev/null)
    cmp -s "$scratch/$lesson/Cargo.lock" "$lesson/Cargo.lock" && continue
    if [ $check = yes ]; then
        printf '%s/Cargo.lock is out of date: run scripts/locks.sh to regenerate it\n' "$lesson" >&2
        status=1
    else
        cp "$scratch/$lesson/Cargo.lock" "$lesson"
        printf '%s/Cargo.lock\n' "$lesson"
    fi
done
exit $status
