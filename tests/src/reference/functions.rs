//! `docs/functions.md`: every function with its variants, arguments and examples.

use std::fmt::Write as _;

use millstream_sql::expr::Functions;
use millstream_sql::expr::functions::{Described, Example, FunctionKind, VariantDoc};

const HEAD: &str = "# Functions

<!-- Written by `cargo run -p millstream-tests --bin reference -- --write` from what stands beside each
function's implementation; a test runs every example. -->

What SHOW FUNCTIONS lists and DESCRIBE FUNCTION explains. Names are not case-sensitive.

Unless said otherwise a NULL argument gives NULL. A call that fails gives NULL, and a record in the
processing log says why. Texts are counted in UTF-16 code units, from 1; regular expressions and the
patterns of dates and times are Java's. `T`, `U`, … stand for any type, the same one wherever the letter
stands; `...` marks an argument that may be repeated or left out. An INT is taken where a BIGINT,
DECIMAL or DOUBLE is needed, and a string literal where a DATE, TIME or TIMESTAMP is.

Results are shown as SQL would write them: texts, dates, times and BYTES (base64) in quotes.
";

/// The page.
pub fn page() -> String {
    let all = Functions::built_in().all();
    let mut groups: Vec<(FunctionKind, String)> = vec![];
    for function in &all {
        let group = (function.about.kind, function.about.category.clone());
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.sort_by_key(|(kind, name)| (*kind != FunctionKind::Scalar, name.clone()));
    let mut out = HEAD.to_owned();
    for (kind, category) in &groups {
        let members = all.iter().filter(|f| f.about.kind == *kind && f.about.category == *category);
        let members: Vec<&Described> = members.collect();
        let links = members.iter().map(|f| {
            let name = &f.about.name;
            format!("[{name}](#{})", name.to_lowercase())
        });
        let links: Vec<String> = links.collect();
        let _ = write!(out, "\n## {}\n\n{}\n", heading(*kind, category), links.join(" · "));
        members.iter().for_each(|f| function(&mut out, f));
    }
    out
}

fn heading(kind: FunctionKind, category: &str) -> String {
    match kind {
        FunctionKind::Scalar => {
            let lower = category.to_lowercase();
            let mut letters = lower.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
        FunctionKind::Aggregate => "Aggregate functions".to_owned(),
        FunctionKind::Table => "Table functions".to_owned(),
    }
}

fn function(out: &mut String, function: &Described) {
    let about = &function.about;
    let _ = write!(out, "\n### {}\n\n{}", about.name, about.summary);
    if !about.note.is_empty() {
        let _ = write!(out, " {}", about.note);
    }
    out.push_str("\n\n```\n");
    for variant in &function.variants {
        let _ = writeln!(out, "{}{}", about.name, signature(variant));
    }
    out.push_str("```\n");
    if !about.arguments.is_empty() {
        out.push('\n');
    }
    for (name, description) in &about.arguments {
        let _ = writeln!(out, "- `{name}`: {description}");
    }
    out.push_str("\n```sql\n");
    for example in &about.examples {
        let _ = writeln!(out, "{}", shown(example));
    }
    out.push_str("```\n");
}

fn signature(variant: &VariantDoc) -> String {
    let arguments = variant
        .arguments
        .iter()
        .map(|a| format!("{} {}{}", a.name, a.ty, if a.is_variadic { "..." } else { "" }));
    let arguments: Vec<String> = arguments.collect();
    format!("({}) -> {}", arguments.join(", "), variant.returns)
}

fn shown(example: &Example) -> String {
    let over = if example.rows.is_empty() {
        String::new()
    } else {
        let rows: Vec<String> = example.rows.iter().map(|row| format!("({row})")).collect();
        format!(" of {} in {}", example.columns, rows.join(", "))
    };
    format!("{}{over} -- {}", example.call, example.gives)
}
