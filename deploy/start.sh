#!/bin/sh
# Entry of the image: makes the recovery directory once, then becomes the command.
#
# The engine reads BYTEWAX_RECOVERY_DIRECTORY itself, but stops when the directory holds no partitions. Their number is
# fixed when they are made. State is kept by key group, a few hundred rows in all, so a few partitions do; each more
# costs every epoch another write to the disk that is waited for.
set -eu

directory="${BYTEWAX_RECOVERY_DIRECTORY:-}"
if [ -n "$directory" ] && [ -z "$(find "$directory" -maxdepth 1 -name 'part-*' -print -quit)" ]; then
    echo "start: first start, making recovery partitions in $directory"
    python -m bytewax.recovery "$directory" "${RECOVERY_PARTITIONS:-4}"
fi
exec "$@"
