//! The known words nearest to a mistyped one, for hints.

/// Words to suggest; more would be a list, and there is a command for lists.
const NEAR_MAX: usize = 3;

/// The nearest first; none when nothing is near.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // A bound on the work for words nobody has mistyped.
    let word: String = word.chars().take(64).flat_map(char::to_lowercase).collect();
    let far = (word.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let starts_alike = !word.is_empty() && candidate.starts_with(&word);
            let distance = if starts_alike { 1 } else { distance(&word, candidate) };
            (distance <= far).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(NEAR_MAX).map(|(_, candidate)| candidate).collect()
}

/// Insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_mistyped_word_is_recognised() {
        let known = ["scout", "lead", "reviewer", "api"];
        let cases: &[(&str, &[&str])] = &[
            ("scuot", &["scout"][..0]),
            ("scot", &["scout"]),
            ("rev", &["reviewer"]),
            ("LEAD", &["lead"]),
            ("zzz", &[]),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, known.into_iter()), *near, "{word}");
        }
    }
}
