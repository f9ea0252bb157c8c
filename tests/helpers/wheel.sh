#!/bin/sh
# Builds the wheel, installs it alone in a new environment, and tags a file with it, away from the
# source tree. Usage: tests/helpers/wheel.sh PYTHON
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --quiet --disable-pip-version-check"
$pip wheel --no-deps --wheel-dir "$work" "$root"
$pip install --constraint "$root/constraints.txt" "$work"/*.whl

for package in torch librosa numba scipy; do
    if "$work/venv/bin/python" -c "import $package" 2> /dev/null; then
        echo "the plain install brings $package" >&2
        exit 1
    fi
done

mkdir "$work/beets" "$work/music"
cp "$root"/tests/data/*.mp3 "$work/music"
cat > "$work/beets/config.yaml" <<EOF
directory: $work/music
library: $work/beets/library.db
plugins: agfgenre
import: {copy: no, quiet: yes, autotag: no}
agfgenre: {min_confidence: 0}
EOF
cd "$work"
export BEETSDIR="$work/beets"
venv/bin/beet import music
venv/bin/beet agfgenre
untagged=$(venv/bin/beet ls 'genres::^$' | wc -l)
tagged=$(venv/bin/beet ls | wc -l)
[ "$tagged" -gt 0 ] && [ "$untagged" -eq 0 ] || { echo "not tagged: $untagged" >&2; exit 1; }
venv/bin/python - <<'EOF'
import glob
from mediafile import MediaFile
for path in glob.glob("music/*.mp3"):
    assert MediaFile(path).genres, path
EOF
venv/bin/beet agfmap
grep -q 'Map of' agfmap.html
echo "the wheel alone tagged $tagged file(s)"
