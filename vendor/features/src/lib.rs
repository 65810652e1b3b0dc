//! Holds no code: its manifest is the point. See `Cargo.toml` beside this folder.
