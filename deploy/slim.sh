#!/bin/sh
# Removes from installed packages what only tests, compilers, type checkers and debuggers read: slim.sh FOLDER
set -eu
find "$1" -type d -name tests -prune -exec rm -rf {} +
find "$1" -type f \( -name '*.pyi' -o -name '*.[ach]' -o -name '*.[ch]pp' -o -name '*.px[di]' -o -name '*.pyx' \) \
    -not -path '*/nexus_*' -delete
# Of numpy: a compiler of Fortran's, its builds, and modules for its tests.
rm -rf "$1"/python*/site-packages/numpy/f2py "$1"/python*/site-packages/numpy/distutils "$1"/numpy/f2py "$1"/numpy/distutils
find "$1" -path '*/numpy/_core/*' \( -name '_simd.*.so' -o -name '*_tests.*.so' \) -delete
# Libraries that wheels bring along, in folders named *.libs, break when stripped.
find "$1" -type f -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +
