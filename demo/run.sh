#!/bin/sh
# Makes a throw-away beets library of the clips in tests/data, which have no genres, and tags it.
# Usage: demo/run.sh BEET
set -eu
beet=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/.."
rm -rf .demo
mkdir .demo
cat > .demo/config.yaml <<EOF
directory: $PWD/.demo/music
library: $PWD/.demo/library.db
plugins: agfgenre
import:
  copy: yes
  write: yes
  quiet: yes
  autotag: no
EOF
export BEETSDIR="$PWD/.demo"

echo '$ beet import tests/data'
"$beet" import tests/data 2> .demo/import.log || { cat .demo/import.log; exit 1; }
echo
echo '$ beet agfgenre'
"$beet" agfgenre
echo
echo 'What it wrote, and how sure it was (tracks without a genre were left alone):'
format='$format: $artist - $title
    genres: $genres    heard: $agf_genres at $agf_confidence'
"$beet" ls -f "$format" title+
