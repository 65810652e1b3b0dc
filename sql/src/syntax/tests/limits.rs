//! What a hostile text may not do: overflow the stack, take quadratic time, panic.

use super::*;

/// All that walks a tree, on the smallest stack a thread of ours has.
fn on_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    assert!(thread.join().is_ok());
}

/// Whether the text is an expression, after walking over it in every way.
fn walk(text: &str) -> bool {
    let Ok(expr) = parse_expression(text) else { return false };
    assert!(span_of(&expr).is_some() && !expr_text(&expr).is_empty() && expr == expr.clone());
    true
}

#[test]
fn deep_nesting_is_an_error_and_what_is_allowed_fits_the_stack() {
    let shapes: [(&str, &str, &str); 10] = [
        ("(", "1", ")"),
        ("f(", "1", ")"),
        ("NOT ", "a", ""),
        ("- ", "a", ""),
        ("a[", "1", "]"),
        ("", "a", "+1"),
        ("1||(", "a", ")"),
        ("CASE WHEN ", "a", " THEN 1 END"),
        ("CAST(", "a", " AS INT)"),
        ("f(x => ", "x", ")"),
    ];
    on_small_stack(move || {
        for (open, middle, close) in shapes {
            for depth in [10, 24, 48, 49, 50, 118, 119, 120, 100_000] {
                let parsed = walk(&(open.repeat(depth) + middle + &close.repeat(depth)));
                assert!(parsed || depth > 10, "{open} {depth}");
                assert!(!parsed || depth < 1000, "{open} {depth}");
            }
        }
        let types = "ARRAY<".repeat(100_000);
        assert!(
            parse_type(&types).is_err()
                && parse_type(&("INT".to_owned() + &" ARRAY".repeat(100_000))).is_err()
        );
        let explain = "EXPLAIN ".repeat(100_000) + "SHOW TOPICS;";
        assert!(parse_statements(&explain, &NoTypes).is_err());
    });
}

#[test]
fn long_and_flat_is_fine() {
    on_small_stack(|| {
        let or = vec!["a = 1"; 20_000].join(" OR ");
        assert!(walk(&or));
        let list = format!("a IN ({})", vec!["1"; 100_000].join(","));
        assert!(parse_expression(&list).is_ok());
        let fields = "a".to_owned() + &"->b[1]".repeat(50_000);
        assert!(parse_expression(&fields).is_ok());
    });
}

#[test]
fn types_made_of_types_cannot_grow_exponentially() {
    let mut text = "CREATE TYPE t0 AS STRUCT<a INT, b INT>;".to_owned();
    for n in 1..40 {
        text += &format!("CREATE TYPE t{n} AS STRUCT<a t{0}, b t{0}>;", n - 1);
    }
    assert!(parse_statements(&text, &NoTypes).unwrap_err().message.contains("too large"));
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let text = format!("PRINT '{}';", "x".repeat(1 << 20));
    assert!(parse_statements(&text, &NoTypes).is_err());
}

/// A small generator; the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Parses and checks that every place given is one in the text.
fn survive(text: &str) {
    let mut variables = Variables::default();
    variables.define("x", "1");
    let _ = variables.substitute(text);
    let _ = split_statements(text).map(|pieces| {
        pieces
            .iter()
            .for_each(|piece| assert_eq!(&text[piece.span.start..piece.span.end], piece.text));
    });
    if let Err(error) = parse_statements(text, &address) {
        let span = error.span.unwrap_or_else(|| panic!("no place: {error} in {text}"));
        assert!(text.get(span.start..span.end).is_some(), "{span:?} in {text}");
        assert!(!error.render(text).is_empty() && !error.remedy.is_empty());
    }
}

#[test]
fn token_soup_never_panics() {
    let mut dice = Dice(1);
    let other = [
        "a",
        "`ä`",
        "\"b\"",
        "'c'",
        "1",
        "2.5",
        "1e9",
        "3x",
        "->",
        "=>",
        ":=",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "=",
        "<>",
        "||",
        ",",
        ";",
        ".",
        "*",
        "-",
        "+",
        "/",
        "%",
        "${x}",
        "$",
        "'",
        "`",
        "--",
        "/*",
        "*/",
        "\n",
        "ß",
        "99999999999999999999",
        "1e999",
        "BIGINT",
        "ADDRESS",
    ];
    let pick = |dice: &mut Dice| {
        let keywords = complete::KEYWORDS;
        let n = dice.roll(2 * other.len() + keywords.len());
        if n < 2 * other.len() { other[n % other.len()] } else { keywords[n - 2 * other.len()] }
    };
    for _ in 0..20_000 {
        let len = 1 + dice.roll(25);
        let words: Vec<&str> = (0..len).map(|_| pick(&mut dice)).collect();
        survive(&words.join([" ", ""][dice.roll(8) / 7]));
    }
}

#[test]
fn damaged_statements_never_panic() {
    let mut dice = Dice(2);
    let good: Vec<&str> =
        include_str!("statements.txt").lines().filter(|l| l.ends_with(';')).collect();
    for _ in 0..20_000 {
        let mut text: Vec<char> = good[dice.roll(good.len())].chars().collect();
        for _ in 0..1 + dice.roll(3) {
            let at = dice.roll(text.len());
            match dice.roll(4) {
                0 => text.truncate(at + 1),
                1 => drop(text.remove(at)),
                2 => text.insert(at, [';', '\'', '(', '`', '€', '-'][dice.roll(6)]),
                _ => text.swap(at, 0),
            }
            if text.is_empty() {
                break;
            }
        }
        survive(&text.iter().collect::<String>());
    }
}
