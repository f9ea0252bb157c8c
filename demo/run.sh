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
agfgenre:
  min_confidence: 0.5  # the clips are short: with the default of 0.6 few would get a genre
EOF
export BEETSDIR="$PWD/.demo"

"$beet" ls > .demo/create.log  # makes the library
echo '$ beet import tests/data'
"$beet" import tests/data 2> .demo/import.log || { cat .demo/import.log; exit 1; }
echo
echo '$ beet agfgenre'
"$beet" agfgenre
echo
echo 'Format, track | genres written (none where unsure) | genres predicted, confidence:'
"$beet" ls -f '%left{$format,8}  %left{$artist - $title,36} | $genres | $agf_genres $agf_confidence' \
    title+
