//! MASK and its kin: characters replaced by marks for their class.

use super::Library;
use super::typed::{I, Opt, S, f1, f2, f5, f6, some};
use crate::expr::eval::Outcome;

/// The marks for upper case, lower case, digits and the rest; `None` leaves that class.
#[derive(Clone, Copy)]
struct Marks([Option<char>; 4]);

const MARKS: Marks = Marks([Some('X'), Some('x'), Some('n'), Some('-')]);

impl Marks {
    fn new(marks: [Option<&str>; 4]) -> Outcome<Marks> {
        let mut out = [None; 4];
        for (slot, mark) in out.iter_mut().zip(marks) {
            let Some(mark) = mark else { continue };
            let mut chars = mark.chars();
            *slot = match (chars.next(), chars.next()) {
                (Some(c), None) => Some(c),
                _ => return Err(format!("the mask {mark:?} is not one character").into()),
            };
        }
        some(Marks(out))
    }

    fn mask(&self, c: char) -> char {
        let class = match c {
            c if c.is_uppercase() => 0,
            c if c.is_lowercase() => 1,
            c if c.is_numeric() => 2,
            _ => 3,
        };
        self.0[class].unwrap_or(c)
    }
}

#[derive(Clone, Copy)]
enum Which {
    All,
    KeepLeft,
    KeepRight,
    Left,
    Right,
}

fn mask(text: &str, which: Which, n: i32, marks: Outcome<Marks>) -> Outcome<String> {
    let Some(marks) = marks? else { return Ok(None) };
    let n = usize::try_from(n).map_err(|_| "the number of characters is negative")?;
    let len = text.chars().count();
    some(
        text.chars()
            .enumerate()
            .map(|(i, c)| {
                let masked = match which {
                    Which::All => true,
                    Which::KeepLeft => i >= n,
                    Which::KeepRight => i + n < len,
                    Which::Left => i < n,
                    Which::Right => i + n >= len,
                };
                if masked { marks.mask(c) } else { c }
            })
            .collect(),
    )
}

pub(super) fn add(lib: &mut Library) {
    lib.category("STRING");
    type M = Opt<S>;
    lib.add(
        "MASK",
        "The text with its characters replaced by marks for their class.",
        [
            ("S -> S", f1::<S, S>(|t| mask(t, Which::All, 0, some(MARKS)))),
            (
                "S, S, S, S, S -> S",
                f5::<S, M, M, M, M, S>(|t, a, b, c, d| {
                    mask(t, Which::All, 0, Marks::new([a, b, c, d]))
                }),
            ),
        ],
    )
    .note("The marks are X, x, n and - unless given.")
    .arg("text", "The text.")
    .arg("upper", "The mark for capitals; NULL leaves them.")
    .arg("lower", "The mark for small letters; NULL leaves them.")
    .arg("digit", "The mark for digits; NULL leaves them.")
    .arg("other", "The mark for everything else; NULL leaves it.")
    .example("MASK('My Test $123')", "'Xx-Xxxx--nnn'")
    .example("MASK('My Test $123', '*', NULL, '1', NULL)", "'*y *est $111'");
    let partial = [
        (
            "MASK_KEEP_LEFT",
            "The text masked but for its first characters.",
            Which::KeepLeft,
            ("MASK_KEEP_LEFT('My Test $123', 4)", "'My Txxx--nnn'"),
        ),
        (
            "MASK_KEEP_RIGHT",
            "The text masked but for its last characters.",
            Which::KeepRight,
            ("MASK_KEEP_RIGHT('My Test $123', 4)", "'Xx-Xxxx-$123'"),
        ),
        (
            "MASK_LEFT",
            "The text with its first characters masked.",
            Which::Left,
            ("MASK_LEFT('My Test $123', 4)", "'Xx-Xest $123'"),
        ),
        (
            "MASK_RIGHT",
            "The text with its last characters masked.",
            Which::Right,
            ("MASK_RIGHT('My Test $123', 4)", "'My Test -nnn'"),
        ),
    ];
    for (name, doc, which, (call, gives)) in partial {
        lib.add(
            name,
            doc,
            [
                ("S, I! -> S", f2::<S, I, S>(move |t, n| mask(t, which, n, some(MARKS)))),
                (
                    "S, I!, S, S, S, S -> S",
                    f6::<S, I, M, M, M, M, S>(move |t, n, a, b, c, d| {
                        mask(t, which, n, Marks::new([a, b, c, d]))
                    }),
                ),
            ],
        )
        .note("A negative count is an error.")
        .arg("text", "The text.")
        .arg("count", "How many characters are masked.")
        .arg("upper", "The mark for capitals; NULL leaves them.")
        .arg("lower", "The mark for small letters; NULL leaves them.")
        .arg("digit", "The mark for digits; NULL leaves them.")
        .arg("other", "The mark for everything else; NULL leaves it.")
        .example(call, gives);
    }
}
