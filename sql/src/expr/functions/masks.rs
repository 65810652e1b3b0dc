//! MASK and its kin: characters replaced by marks for their class.

use std::sync::LazyLock;

use super::Library;
use super::text::utf16_len;
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

    /// The mask of a UTF-16 unit; `None` leaves it. Halves of a pair are of the last class.
    fn mask(&self, unit: u16) -> Option<char> {
        self.0[char::from_u32(u32::from(unit)).map_or(3, class)]
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
    let len = utf16_len(text);
    let units: Vec<u16> = text
        .encode_utf16()
        .enumerate()
        .flat_map(|(i, unit)| {
            let masked = match which {
                Which::All => true,
                Which::KeepLeft => i >= n,
                Which::KeepRight => i + n < len,
                Which::Left => i < n,
                Which::Right => i + n >= len,
            };
            let mark = if masked { marks.mask(unit) } else { None };
            let mut buffer = [unit, 0];
            let len = mark.map_or(1, |mark| mark.encode_utf16(&mut buffer).len());
            buffer.into_iter().take(len)
        })
        .collect();
    some(String::from_utf16_lossy(&units))
}

/// Which mask a character gets, by its general category: Lu, Ll, Nd, all else.
fn class(c: char) -> usize {
    static CLASSES: LazyLock<regex::RegexSet> = LazyLock::new(|| {
        regex::RegexSet::new([r"^\p{Lu}$", r"^\p{Ll}$", r"^\p{Nd}$"]).expect("patterns")
    });
    match c {
        'A'..='Z' => 0,
        'a'..='z' => 1,
        '0'..='9' => 2,
        c if c.is_ascii() => 3,
        c => CLASSES.matches(c.encode_utf8(&mut [0; 4])).iter().next().unwrap_or(3),
    }
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
