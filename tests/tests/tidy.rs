//! Rules that the compiler does not know: who may depend on whom, documents that name real paths,
//! files that say what they are, files that stay small.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use millstream_sql::ErrorKind;

/// Who may depend on whom; ARCHITECTURE.md draws it. A crate's row lists every crate of ours that it
/// may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sql", &[]),
    ("storage", &[]),
    ("engine", &["sql"]),
    ("connectors", &["engine", "sql", "storage"]),
    ("server", &["connectors", "engine", "sql", "storage"]),
    ("tests", &["connectors", "engine", "server", "sql", "storage"]),
];

/// Lines a source file may have, its test module not counted.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The crates of ours that a Cargo.toml names in any of its dependency tables.
fn named_crates(manifest: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            in_dependencies = table.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            match name.strip_prefix("millstream") {
                Some("") => named.insert("server".to_owned()),
                // No code: the feature set that all crates share.
                Some("-features") => false,
                Some(rest) => named.insert(rest.trim_start_matches('-').to_owned()),
                None => false,
            };
        }
    }
    named
}

#[test]
fn crates_depend_only_downwards() {
    for (name, allowed) in ALLOWED {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        for named in named_crates(&manifest) {
            assert!(
                allowed.contains(&named.as_str()),
                "{name} may not depend on {named}: see \"Who may know whom\" in ARCHITECTURE.md"
            );
        }
    }
}

#[test]
fn an_edge_upwards_would_be_seen() {
    let manifest = "[dependencies]\nserde = \"1\"\nmillstream-storage.workspace = true\n\
                    [dev-dependencies]\nmillstream = { path = \"../server\" }\n[features]\nmillstream-no = []";
    let named: Vec<_> = named_crates(manifest).into_iter().collect();
    assert_eq!(named, ["server", "storage"]);
}

/// The paths that a document names in back quotes: those that begin with a folder of ours, and
/// plain file names with an ending of ours.
fn named_paths(document: &str) -> Vec<String> {
    let folders = [
        "sql",
        "storage",
        "engine",
        "connectors",
        "server",
        "tests",
        "examples",
        "docs",
        "vendor",
        ".ci",
    ];
    let is_path = |text: &&str| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let first = text.split('/').next().unwrap_or_default();
        let ours = text.contains('/') && folders.contains(&first);
        let file = !text.contains('/')
            && [".md", ".toml"]
                .iter()
                .any(|ending| text.ends_with(ending) && text.len() > ending.len());
        plain && (ours || file)
    };
    let mut named = Vec::new();
    let mut in_block = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            named.extend(line.split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned));
        }
    }
    named
}

#[test]
fn documents_name_paths_that_exist() {
    for document in ["ARCHITECTURE.md", "README.md"] {
        let path = root().join(document);
        assert!(path.exists(), "{document} is missing");
        for named in named_paths(&read(&path)) {
            assert!(root().join(&named).exists(), "{document} names {named}, which does not exist");
        }
    }
}

#[test]
fn paths_are_found_in_back_quotes_only() {
    let document =
        "`sql/src/no.rs` sql/x `/ksql` `application/json` `Cargo.toml` `x.rs`\n```\n`sql/y`\n```";
    assert_eq!(named_paths(document), ["sql/src/no.rs", "Cargo.toml"]);
}

/// All .rs files of our crates.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ALLOWED.iter().map(|(name, _)| root().join(name)).collect();
    folders.push(root().join("examples"));
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

#[test]
fn each_file_says_what_it_is() {
    for path in sources() {
        assert!(read(&path).starts_with("//! "), "{} does not start with //!", path.display());
    }
}

#[test]
fn files_stay_small() {
    for path in sources() {
        // Integration tests and test modules of their own are not counted.
        let in_tests = path.parent().is_some_and(|parent| parent.ends_with("tests"));
        let is_test = path.file_stem().is_some_and(|s| s.to_string_lossy().ends_with("tests"));
        let text = read(&path);
        let lines = text.lines().position(|l| l == "#[cfg(test)]").unwrap_or(text.lines().count());
        let small = lines <= LINES_MAX || is_test || in_tests;
        assert!(small, "{} has {lines} lines, more than {LINES_MAX}", path.display());
    }
}

#[test]
fn every_error_code_is_documented_and_every_documented_one_exists() {
    let document = read(&root().join("docs/errors.md"));
    let documented: Vec<&str> =
        document.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect();
    let codes: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    for code in &codes {
        assert!(documented.contains(code), "docs/errors.md does not name {code}");
    }
    for code in &documented {
        assert!(codes.contains(code), "docs/errors.md names {code}, which no statement gets");
    }
}

/// Handlers that need nobody's leave: what they tell is no secret, or they are how one logs in, or
/// their question is asked in the file that is named.
const ASKS_NOBODY: &[(&str, &str)] = &[
    ("alter_configs.rs", "../configs/alter.rs asks"),
    ("api_versions.rs", "Kafka's own rule: open even before the login"),
    ("delegation_tokens.rs", "always refused"),
    ("describe_cluster.rs", "Kafka's own rule: whoever is in may know the nodes"),
    ("incremental_alter_configs.rs", "../configs/alter.rs asks"),
    ("mod.rs", "no handler"),
    ("sasl.rs", "the login itself"),
];

/// With authorization on, a handler that forgets to ask would be open to everybody.
#[test]
fn every_handler_asks_the_authorizer() {
    let handlers = root().join("storage/src/kafka/handlers");
    for entry in fs::read_dir(&handlers).expect("the handlers' folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let asks = read(&path).contains("Operation::");
        match ASKS_NOBODY.iter().find(|(file, _)| *file == name) {
            None => assert!(
                asks,
                "{} never names an Operation: see check_topic and its kin in handlers/mod.rs",
                path.display()
            ),
            Some(_) => {}
        }
    }
}
