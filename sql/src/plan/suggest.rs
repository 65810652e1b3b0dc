//! "Did you mean …": the nearest of the names there are.

/// A remedy naming the nearest of `known`, if one is near enough to be a slip; else `otherwise`.
pub(super) fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    let wanted = name.to_lowercase();
    let nearest = known
        .into_iter()
        .map(|k| (distance(&wanted, &k.to_lowercase()), k))
        .min_by_key(|(d, k)| (*d, *k));
    match nearest {
        Some((0, k)) if k != name => {
            format!("There is \"{k}\"; a name that is not all upper case needs back quotes.")
        }
        Some((d, k)) if d <= (name.chars().count() / 3).max(1) => {
            format!("Did you mean \"{k}\"?")
        }
        _ => otherwise.to_owned(),
    }
}

/// Edit distance (insert, delete, replace).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name() {
        let known = ["ORDERS", "Users"];
        assert_eq!(did_you_mean("ORDRS", known, "-"), "Did you mean \"ORDERS\"?");
        assert_eq!(did_you_mean("PAYMENTS", known, "-"), "-");
        assert!(did_you_mean("USERS", known, "-").contains("back quotes"));
    }
}
