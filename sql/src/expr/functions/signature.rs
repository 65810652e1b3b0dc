//! Parameter lists of functions, and which arguments they accept.
//!
//! A signature is written as text: `S, I!, S... -> [S]`.
//!
//! | text | accepts |
//! |---|---|
//! | `B I L D S Y DT TM TS` | BOOLEAN, INT, BIGINT, DOUBLE, STRING, BYTES, DATE, TIME, TIMESTAMP |
//! | `N` | any DECIMAL; all `N` of one signature become one wide enough for each |
//! | `num` | any number, converted to DOUBLE |
//! | `any` | any type; stays as it is |
//! | `T U V K R` | any type, the same wherever the letter stands |
//! | `[p]`, `{k:v}`, `<F p, …>` | ARRAY, MAP, STRUCT |
//! | `unit` | a bare time unit such as DAYS, handed on as STRING |
//! | `(p, …)=>p` | a lambda |
//! | `p!` | rejects NULL: the call fails |
//! | `p...` | any number of them, also none; at most one per signature |
//! | `p name` | the argument is called so, whatever the function says for its place |
//!
//! Matching is tried exactly, then with implicit conversions: numbers widen, string literals become
//! DATE, TIME and TIMESTAMP.

use std::fmt;

use crate::expr::Expr;
use crate::expr::types::{common_number, widens};
use crate::types::{SqlType, StructField};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Param {
    Type(SqlType),
    Decimal,
    Number,
    Generic(char),
    Any,
    Unit,
    Array(Box<Param>),
    Map(Box<Param>, Box<Param>),
    Struct(Vec<(String, Param)>),
    Lambda(Vec<Param>, Box<Param>),
}

#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub param: Param,
    pub name: Option<String>,
    /// A NULL argument makes the call fail.
    pub rejects_null: bool,
    pub variadic: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub params: Vec<Parameter>,
    pub returns: Param,
}

/// What is known of an argument before a variant is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    Typed(SqlType),
    /// A string literal: STRING, or a time in disguise.
    Text,
    Null,
    Unit,
    Lambda(usize),
}

impl Argument {
    /// What a bound argument is; a unit can only be told by who knows the function.
    pub(crate) fn of(expr: &Expr) -> Argument {
        match expr {
            Expr::Lambda { params, .. } => Argument::Lambda(params.len()),
            Expr::Literal { value, ty: Some(SqlType::String) } if !value.is_null() => {
                Argument::Text
            }
            other => other.ty().map_or(Argument::Null, Argument::Typed),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Typed(ty) => write!(f, "{ty}"),
            Argument::Text => f.write_str("STRING"),
            Argument::Null => f.write_str("null"),
            Argument::Unit => f.write_str("INTERVALUNIT"),
            Argument::Lambda(_) => f.write_str("LAMBDA"),
        }
    }
}

/// What the letters of a signature stand for in one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(Vec<(char, SqlType)>);

impl Bindings {
    pub(crate) fn get(&self, letter: char) -> Option<&SqlType> {
        self.0.iter().find(|(l, _)| *l == letter).map(|(_, ty)| ty)
    }

    pub(crate) fn set(&mut self, letter: char, ty: SqlType) {
        match self.0.iter_mut().find(|(l, _)| *l == letter) {
            Some((_, old)) => *old = ty,
            None => self.0.push((letter, ty)),
        }
    }
}

/// The letter that `N` is bound under.
const DECIMAL: char = 'N';

impl Signature {
    /// Reads a signature of the library; panics on a wrong one, which its tests find.
    pub(crate) fn parse(text: &str) -> Self {
        match Self::read(text) {
            Ok(signature) => signature,
            Err(reason) => panic!("{reason}"),
        }
    }

    /// Reads a signature, or says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let (params, returns) =
            text.rsplit_once("->").ok_or_else(|| format!("no result in the signature {text}"))?;
        let mut reader = Reader { text: params.as_bytes(), at: 0 };
        let mut list = vec![];
        while reader.peek().is_some() {
            let param = reader.param()?;
            let rejects_null = reader.take("!");
            let variadic = reader.take("...");
            let name = Some(reader.word()).filter(|name| !name.is_empty());
            list.push(Parameter { param, name, rejects_null, variadic });
            reader.take(",");
        }
        let returns = Reader { text: returns.as_bytes(), at: 0 }.param()?;
        Ok(Self { params: list, returns })
    }

    /// The parameter that takes argument `at` of `count`.
    pub(crate) fn parameter(&self, at: usize, count: usize) -> Option<&Parameter> {
        let Some(variadic) = self.params.iter().position(|p| p.variadic) else {
            return self.params.get(at).filter(|_| count == self.params.len());
        };
        let fixed = self.params.len() - 1;
        let repeated = count.checked_sub(fixed)?;
        if at < variadic {
            self.params.get(at)
        } else if at < variadic + repeated {
            self.params.get(variadic)
        } else {
            self.params.get(at - repeated + 1)
        }
    }

    /// Whether the arguments fit, and what the letters then stand for. Lambdas count only by their
    /// number of parameters.
    pub(crate) fn accepts(&self, args: &[Argument], implicit: bool) -> Option<Bindings> {
        let mut bindings = Bindings::default();
        if args.is_empty() && self.params.iter().any(|p| !p.variadic) {
            return None;
        }
        for (i, arg) in args.iter().enumerate() {
            let parameter = self.parameter(i, args.len())?;
            if !fits(&parameter.param, arg, implicit, &mut bindings) {
                return None;
            }
        }
        // A letter may have been widened, or bound, after an argument had been looked at.
        for (i, arg) in args.iter().enumerate() {
            let parameter = self.parameter(i, args.len())?;
            if !fits(&parameter.param, arg, implicit, &mut bindings) {
                return None;
            }
        }
        Some(bindings)
    }

    /// For choosing among variants that fit; the smallest wins.
    pub(crate) fn rank(&self) -> (bool, usize, std::cmp::Reverse<usize>) {
        let variadic = self.params.iter().position(|p| p.variadic);
        let generics = self.params.iter().filter(|p| p.param.is_generic()).count();
        (variadic.is_some(), generics, std::cmp::Reverse(variadic.unwrap_or(usize::MAX)))
    }
}

fn fits(param: &Param, arg: &Argument, implicit: bool, bindings: &mut Bindings) -> bool {
    let ty = match (param, arg) {
        (Param::Lambda(params, _), Argument::Lambda(count)) => return params.len() == *count,
        (_, Argument::Lambda(_)) | (Param::Lambda(..), _) => return false,
        (Param::Unit, Argument::Unit) => return true,
        // Once compiled, a unit is a STRING constant.
        (Param::Unit, Argument::Text) => return true,
        (_, Argument::Unit) | (Param::Unit, _) => return false,
        (_, Argument::Null) => return true,
        (Param::Type(SqlType::Date | SqlType::Time | SqlType::Timestamp), Argument::Text) => {
            return implicit;
        }
        (Param::Generic(letter), Argument::Text) => {
            return match bindings.get(*letter) {
                None => {
                    bindings.set(*letter, SqlType::String);
                    true
                }
                Some(SqlType::String) => true,
                Some(SqlType::Date | SqlType::Time | SqlType::Timestamp) => implicit,
                Some(_) => false,
            };
        }
        (_, Argument::Text) => &SqlType::String,
        (_, Argument::Typed(ty)) => ty,
    };
    matches(param, ty, implicit, bindings)
}

fn matches(param: &Param, ty: &SqlType, implicit: bool, bindings: &mut Bindings) -> bool {
    match (param, ty) {
        (Param::Type(want), _) => want == ty || (implicit && widens(ty, want)),
        (Param::Number, _) => ty.is_numeric(),
        (Param::Any, _) => true,
        (Param::Decimal, _) => {
            let is_decimal = std::matches!(ty, SqlType::Decimal { .. });
            let is_integer = std::matches!(ty, SqlType::Int | SqlType::Bigint);
            if !(is_decimal || (implicit && is_integer)) {
                return false;
            }
            let before = bindings.get(DECIMAL).cloned();
            let merged = match before {
                None if is_decimal => Some(ty.clone()),
                None => common_number(ty, &SqlType::Decimal { precision: 1, scale: 0 }),
                Some(before) => common_number(&before, ty),
            };
            merged.is_some_and(|m| {
                bindings.set(DECIMAL, m);
                true
            })
        }
        (Param::Generic(letter), _) => match bindings.get(*letter).cloned() {
            None => {
                bindings.set(*letter, ty.clone());
                true
            }
            Some(before) if before == *ty => true,
            Some(before) if implicit => match common_number(&before, ty) {
                Some(common) => {
                    bindings.set(*letter, common);
                    true
                }
                None => false,
            },
            Some(_) => false,
        },
        (Param::Array(item), SqlType::Array(ty)) => matches(item, ty, false, bindings),
        (Param::Map(k, v), SqlType::Map(kt, vt)) => {
            matches(k, kt, false, bindings) && matches(v, vt, false, bindings)
        }
        (Param::Struct(fields), SqlType::Struct(types)) => {
            fields.len() == types.len()
                && fields.iter().zip(types).all(|((name, param), field)| {
                    *name == field.name && matches(param, &field.ty, false, bindings)
                })
        }
        _ => false,
    }
}

impl Param {
    fn is_generic(&self) -> bool {
        match self {
            Param::Generic(_) | Param::Any => true,
            Param::Array(item) => item.is_generic(),
            Param::Map(k, v) => k.is_generic() || v.is_generic(),
            _ => false,
        }
    }

    /// The type with its letters replaced; `None` while one of them is unknown.
    pub(crate) fn resolve(&self, bindings: &Bindings) -> Option<SqlType> {
        Some(match self {
            Param::Type(ty) => ty.clone(),
            Param::Decimal => bindings.get(DECIMAL)?.clone(),
            Param::Number => SqlType::Double,
            Param::Generic(letter) => bindings.get(*letter)?.clone(),
            Param::Unit => SqlType::String,
            Param::Array(item) => SqlType::array(item.resolve(bindings)?),
            Param::Map(k, v) => SqlType::map(k.resolve(bindings)?, v.resolve(bindings)?),
            Param::Struct(fields) => SqlType::Struct(
                fields
                    .iter()
                    .map(|(name, p)| {
                        Some(StructField { name: name.clone(), ty: p.resolve(bindings)? })
                    })
                    .collect::<Option<_>>()?,
            ),
            Param::Any | Param::Lambda(..) => return None,
        })
    }

    /// Makes the result type of a lambda known; `false` when it contradicts what is.
    pub(crate) fn unify(&self, ty: &SqlType, bindings: &mut Bindings) -> bool {
        matches(self, ty, false, bindings)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = self.params.iter();
        let params = params.map(|p| format!("{}{}", p.param, if p.variadic { "..." } else { "" }));
        write!(f, "({}) -> {}", params.collect::<Vec<_>>().join(", "), self.returns)
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Type(ty) => write!(f, "{ty}"),
            Param::Decimal => f.write_str("DECIMAL"),
            Param::Number => f.write_str("DOUBLE"),
            Param::Generic(letter) => write!(f, "{letter}"),
            Param::Any => f.write_str("ANY"),
            Param::Unit => f.write_str("INTERVALUNIT"),
            Param::Array(item) => write!(f, "ARRAY<{item}>"),
            Param::Map(k, v) => write!(f, "MAP<{k}, {v}>"),
            Param::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, (name, p)) in fields.iter().enumerate() {
                    write!(f, "{}{name} {p}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(">")
            }
            Param::Lambda(params, result) => {
                let params: Vec<String> = params.iter().map(Param::to_string).collect();
                write!(f, "LAMBDA ({}) => {result}", params.join(", "))
            }
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(token.as_bytes());
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.wrong(&format!("{token} missing"))) }
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} in the signature {}", String::from_utf8_lossy(self.text))
    }

    fn word(&mut self) -> String {
        self.peek();
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn param(&mut self) -> Result<Param, String> {
        if self.take("[") {
            let item = self.param()?;
            self.expect("]")?;
            return Ok(Param::Array(Box::new(item)));
        }
        if self.take("{") {
            let key = self.param()?;
            self.expect(":")?;
            let value = self.param()?;
            self.expect("}")?;
            return Ok(Param::Map(Box::new(key), Box::new(value)));
        }
        if self.take("<") {
            let mut fields = vec![];
            while !self.take(">") {
                let name = self.word();
                fields.push((name, self.param()?));
                self.take(",");
            }
            return Ok(Param::Struct(fields));
        }
        if self.take("(") {
            let mut params = vec![];
            while !self.take(")") {
                params.push(self.param()?);
                self.take(",");
            }
            self.expect("=>")?;
            return Ok(Param::Lambda(params, Box::new(self.param()?)));
        }
        let word = self.word();
        Ok(match word.as_str() {
            "B" => Param::Type(SqlType::Boolean),
            "I" => Param::Type(SqlType::Int),
            "L" => Param::Type(SqlType::Bigint),
            "D" => Param::Type(SqlType::Double),
            "S" => Param::Type(SqlType::String),
            "Y" => Param::Type(SqlType::Bytes),
            "DT" => Param::Type(SqlType::Date),
            "TM" => Param::Type(SqlType::Time),
            "TS" => Param::Type(SqlType::Timestamp),
            "N" => Param::Decimal,
            "num" => Param::Number,
            "unit" => Param::Unit,
            "any" => Param::Any,
            "T" | "U" | "V" | "K" | "R" => Param::Generic(word.chars().next().unwrap_or('T')),
            other => return Err(self.wrong(&format!("unknown type {other:?}"))),
        })
    }
}
