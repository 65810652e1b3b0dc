#!/usr/bin/env bash
# Makes src/rocksdb.rs.txt anew with the real bindgen, for the rocksdb version in Cargo.toml.
# Needs python3 with pip (for a libclang wheel), gcc and cargo. Run when librocksdb-sys moves.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^rocksdb = { version = "\([^"]*\)".*/\1/p' "$here/../../Cargo.toml")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install --quiet --target "$work/py" libclang==18.1.1
mkdir -p "$work/probe/src"
cat > "$work/probe/Cargo.toml" <<TOML
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[dependencies]
rocksdb = { version = "$version", default-features = false, features = ["lz4", "bindgen-runtime"] }
TOML
echo > "$work/probe/src/lib.rs"
cd "$work/probe"
# ROCKSDB_LIB_DIR makes the build script stop after the bindings: no C++ is compiled.
LIBCLANG_PATH=$(dirname "$(find "$work/py" -name 'libclang.so*' | head -1)") \
BINDGEN_EXTRA_CLANG_ARGS="-I$(gcc -print-file-name=include)" \
ROCKSDB_LIB_DIR=/nonexistent CARGO_TARGET_DIR="$work/target" cargo check
cp "$(find "$work/target" -path '*librocksdb-sys*' -name bindings.rs | head -1)" "$here/src/rocksdb.rs.txt"
