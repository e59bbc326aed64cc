#!/bin/sh
# Entry of the image: makes the recovery directory once, then becomes the command.
#
# The engine reads BYTEWAX_RECOVERY_DIRECTORY itself, but stops when the directory holds no partitions. Their number is
# fixed when they are made; resuming takes a time that is quadratic in the keys of one partition, hence many.
set -eu

directory="${BYTEWAX_RECOVERY_DIRECTORY:-}"
if [ -n "$directory" ] && [ -z "$(find "$directory" -maxdepth 1 -name 'part-*' -print -quit)" ]; then
    echo "start: first start, making recovery partitions in $directory"
    python -m bytewax.recovery "$directory" "${RECOVERY_PARTITIONS:-64}"
fi
exec "$@"
