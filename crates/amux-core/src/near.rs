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

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_mistyped_word_is_recognised() {
        let known = ["scout", "lead", "reviewer", "api"];
        let cases: &[(&str, &[&str])] = &[
            ("scuot", &["scout"]),
            ("scot", &["scout"]),
            ("scouts", &["scout"]),
            ("rev", &["reviewer"]),
            ("LEAD", &["lead"]),
            ("zzz", &[]),
            ("", &[]),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, known.into_iter()), *near, "{word}");
        }
    }
}
