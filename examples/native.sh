#!/bin/sh
# Compiles native.c into a module of Python: native.sh DIR [PYTHON]
#
# Needs a C compiler and Python's headers (Debian: python3-dev).
set -eu

python=${2:-python3}
ask() { "$python" -c "import sysconfig; print(sysconfig.$1)"; }

mkdir -p "$1"
${CC:-cc} -O2 -Wall -shared -fPIC -I"$(ask 'get_path("include")')" \
	-o "$1/native$(ask 'get_config_var("EXT_SUFFIX")')" "$(dirname "$0")/native.c"
