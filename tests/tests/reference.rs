//! The generated reference: every function is documented whole, every example gives what it says, and
//! `docs/` is what would be written.

use std::path::Path;

use millstream_sql::expr::Functions;
use millstream_tests::reference::{examples, pages};

#[test]
fn docs_are_as_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in pages() {
        let there = std::fs::read_to_string(root.join(page.path)).unwrap_or_default();
        assert!(
            there == page.text,
            "{} is stale: cargo run -p millstream-tests --bin reference -- --write",
            page.path
        );
    }
}

#[test]
fn every_function_is_documented_whole() {
    let mut gaps = vec![];
    for function in Functions::built_in().all() {
        let name = &function.about.name;
        if function.about.examples.is_empty() {
            gaps.push(format!("{name}: no example"));
        }
        for variant in &function.variants {
            for argument in &variant.arguments {
                if argument.name.is_empty() || argument.description.is_empty() {
                    gaps.push(format!("{name}: the argument {argument:?}"));
                }
            }
        }
    }
    assert!(gaps.is_empty(), "{}", gaps.join("\n"));
}

#[test]
fn every_example_gives_what_it_says() {
    let mut wrong = vec![];
    for function in Functions::built_in().all() {
        for example in &function.about.examples {
            match examples::run(function.about.kind, example) {
                Ok(got) if got == example.gives => {}
                Ok(got) => {
                    wrong.push(format!("{} gives {got}, not {}", example.call, example.gives))
                }
                Err(reason) => wrong.push(reason),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
