#!/usr/bin/env bash
# Trains on examples/teddy (or goes on where an earlier demo was stopped), then draws with what was learnt.
set -euo pipefail
cd "$(dirname "$0")/.."

run=demo-run
lorasmith=.venv/bin/lorasmith

if [ -f "$run/export/README.md" ]; then
    echo "$run is finished; drawing with it. Remove the folder to train it anew." >&2
elif [ -f "$run/config.resolved.json" ]; then
    "$lorasmith" train --resume "$run"
else
    "$lorasmith" train examples/demo.toml
fi

"$lorasmith" generate "$run" "a TOK emoji on a blue background" --count 4 --seed 0

cat >&2 <<END

The exports      $run/export      (its README.md says which program reads each)
The samples      $run/samples     (drawn while it trained)
The report       $run/report.html
The new pictures $run/generated   (sheet.png: with the concept and, below, without it)
END
