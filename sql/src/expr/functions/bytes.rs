//! Bytes and encodings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};

use super::Library;
use super::typed::{D, I, L, S, Y, f1, f2, f3, some};
use crate::expr::eval::Outcome;

pub(super) fn add(lib: &mut Library) {
    lib.category("STRING");
    lib.add(
        "ENCODE",
        "The text read in one encoding, written in another: hex, utf8, ascii, base64.",
        [(
            "S, S, S -> S",
            f3::<S, S, S, S>(|text, from, to| {
                if from.eq_ignore_ascii_case(to) {
                    return Err("ENCODE takes two different encodings".into());
                }
                let Some(bytes) = decode(text, from)? else { return Ok(None) };
                // FROM_BYTES writes capitals, ENCODE does not.
                if to.eq_ignore_ascii_case("hex") {
                    some(hex(&bytes, false))
                } else {
                    write(&bytes, to)
                }
            }),
        )],
    )
    .note("Hex may begin with `0x`, or be written `X'..'`.")
    .arg("text", "The text.")
    .arg("from", "The encoding it is in.")
    .arg("to", "The encoding wanted, another one.")
    .example("ENCODE('abc', 'utf8', 'hex')", "'616263'");
    lib.add(
        "TO_BYTES",
        "The bytes that a text stands for in an encoding.",
        [("S, S -> Y", f2::<S, S, Y>(decode))],
    )
    .arg("text", "The text.")
    .arg("encoding", "`hex`, `utf8`, `ascii` or `base64`.")
    .example("TO_BYTES('616263', 'hex')", "'YWJj'");
    lib.add(
        "FROM_BYTES",
        "The bytes as text in an encoding.",
        [("Y, S -> S", f2::<Y, S, S>(write))],
    )
    .arg("bytes", "The bytes.")
    .arg("encoding", "`hex`, `utf8`, `ascii` or `base64`.")
    .example("FROM_BYTES(TO_BYTES('abc', 'utf8'), 'hex')", "'616263'");
    lib.add(
        "MD5",
        "The MD5 digest of a text, in hex.",
        [("S -> S", f1::<S, S>(|text| some(hex(&Md5::digest(text.as_bytes()), false))))],
    )
    .arg("text", "The text, taken as UTF-8.")
    .example("MD5('abc')", "'900150983cd24fb0d6963f7d28e17f72'");
    lib.category("MATHEMATICAL");
    lib.add(
        "INT_FROM_BYTES",
        "The INT in 4 bytes, big endian unless said.",
        [
            ("Y -> I", f1::<Y, I>(|b| Ok(Some(i32::from_be_bytes(sized(b, "BIG_ENDIAN")?))))),
            ("Y, S -> I", f2::<Y, S, I>(|b, order| Ok(Some(i32::from_be_bytes(sized(b, order)?))))),
        ],
    )
    .note("Any other number of bytes is an error.")
    .arg("bytes", "Four bytes.")
    .arg("order", "`BIG_ENDIAN` (unless given) or `LITTLE_ENDIAN`.")
    .example("INT_FROM_BYTES(TO_BYTES('00000102', 'hex'))", "258");
    lib.add(
        "BIGINT_FROM_BYTES",
        "The BIGINT in 8 bytes, big endian unless said.",
        [
            ("Y -> L", f1::<Y, L>(|b| Ok(Some(i64::from_be_bytes(sized(b, "BIG_ENDIAN")?))))),
            ("Y, S -> L", f2::<Y, S, L>(|b, order| Ok(Some(i64::from_be_bytes(sized(b, order)?))))),
        ],
    )
    .note("Any other number of bytes is an error.")
    .arg("bytes", "Eight bytes.")
    .arg("order", "`BIG_ENDIAN` (unless given) or `LITTLE_ENDIAN`.")
    .example("BIGINT_FROM_BYTES(TO_BYTES('0201000000000000', 'hex'), 'LITTLE_ENDIAN')", "258");
    lib.add(
        "DOUBLE_FROM_BYTES",
        "The DOUBLE in 8 bytes, big endian unless said.",
        [
            ("Y -> D", f1::<Y, D>(|b| Ok(Some(f64::from_be_bytes(sized(b, "BIG_ENDIAN")?))))),
            ("Y, S -> D", f2::<Y, S, D>(|b, order| Ok(Some(f64::from_be_bytes(sized(b, order)?))))),
        ],
    )
    .note("Any other number of bytes is an error.")
    .arg("bytes", "Eight bytes.")
    .arg("order", "`BIG_ENDIAN` (unless given) or `LITTLE_ENDIAN`.")
    .example("DOUBLE_FROM_BYTES(TO_BYTES('3ff8000000000000', 'hex'))", "1.5");
}

/// Exactly `N` bytes, brought to big endian.
fn sized<const N: usize>(bytes: &[u8], order: &str) -> Result<[u8; N], super::Fail> {
    let mut out: [u8; N] =
        bytes.try_into().map_err(|_| format!("there are {} bytes, not {N}", bytes.len()))?;
    match order {
        "BIG_ENDIAN" => {}
        "LITTLE_ENDIAN" => out.reverse(),
        other => return Err(format!("{other} is neither BIG_ENDIAN nor LITTLE_ENDIAN").into()),
    }
    Ok(out)
}

pub(super) fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect()
}

fn decode(text: &str, encoding: &str) -> Outcome<Vec<u8>> {
    match encoding.to_ascii_lowercase().as_str() {
        "utf8" => some(text.as_bytes().to_vec()),
        "ascii" => some(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect()),
        "base64" => match crate::expr::eval::cast::JAVA_BASE64.decode(text) {
            Ok(bytes) => some(bytes),
            Err(_) => Err("the text is no base64".into()),
        },
        "hex" => {
            let quoted = || text.strip_prefix(['X', 'x'])?.strip_prefix('\'')?.strip_suffix('\'');
            let digits = text.strip_prefix("0x").or_else(quoted).unwrap_or(text);
            // An odd number of digits lacks a leading zero.
            let digits =
                if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
            let pairs = digits.as_bytes().chunks(2);
            let bytes = pairs
                .map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok())
                .collect::<Option<Vec<u8>>>();
            bytes.map_or(Err("the text is no hex".into()), some)
        }
        other => Err(format!("{other} is none of hex, utf8, ascii, base64").into()),
    }
}

fn write(bytes: &[u8], encoding: &str) -> Outcome<String> {
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => some(hex(bytes, true)),
        "base64" => some(BASE64.encode(bytes)),
        "utf8" => some(String::from_utf8_lossy(bytes).into_owned()),
        "ascii" => {
            some(bytes.iter().map(|b| if b.is_ascii() { *b as char } else { '\u{FFFD}' }).collect())
        }
        other => Err(format!("{other} is none of hex, utf8, ascii, base64").into()),
    }
}
