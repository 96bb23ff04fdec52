//! Which paths a few letters may mean: what a person types behind `@`. Pure; whoever asks has listed the paths.

use std::collections::BTreeSet;

/// The paths a word fits, the best first, and the directories on the way to them. An empty word fits what lies at the
/// top. Large and small letters are one.
pub fn fitting(paths: &[String], word: &str, limit: usize) -> Vec<String> {
    let word = word.to_lowercase();
    let mut ranked: BTreeSet<(u8, usize, &str)> = BTreeSet::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for path in paths {
        for shown in path.match_indices('/').map(|(at, _)| &path[..=at]).chain([path.as_str()]) {
            if !seen.insert(shown) {
                continue;
            }
            let Some(rank) = rank(shown, &word) else { continue };
            // Of those that fit alike the shorter is nearer.
            ranked.insert((rank, shown.len(), shown));
            if ranked.len() > limit {
                ranked.pop_last();
            }
        }
    }
    ranked.into_iter().map(|(_, _, path)| path.to_owned()).collect()
}

/// The lower the better; `None`: it does not fit.
fn rank(path: &str, word: &str) -> Option<u8> {
    let bare = path.trim_end_matches('/');
    if word.is_empty() {
        return (!bare.contains('/')).then_some(0);
    }
    let path = path.to_lowercase();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.starts_with(word) || path.starts_with(word) {
        Some(0)
    } else if path.contains(&format!("/{word}")) {
        Some(1)
    } else if name.contains(word) {
        Some(2)
    } else if path.contains(word) {
        Some(3)
    } else if has_in_order(name, word) {
        Some(4)
    } else {
        None
    }
}

/// `cmps` for `composer.svelte`.
fn has_in_order(name: &str, word: &str) -> bool {
    let mut letters = name.chars();
    word.chars().all(|wanted| letters.any(|letter| letter == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(word: &str) -> Vec<String> {
        let paths = ["README.md", "src/main.rs", "src/views/Composer.svelte", "src/views/Inbox.svelte", "docs/main.md"];
        fitting(&paths.map(str::to_owned), word, 4)
    }

    #[test]
    fn a_name_that_begins_so_comes_before_a_path_that_has_it() {
        assert_eq!(fits("main"), ["src/main.rs", "docs/main.md"]);
        assert_eq!(fits("in"), ["src/views/Inbox.svelte", "src/main.rs", "docs/main.md"]);
        assert_eq!(fits("COMP"), ["src/views/Composer.svelte"]);
        assert_eq!(fits("cmps"), ["src/views/Composer.svelte"]);
        assert_eq!(fits("src/v"), ["src/views/", "src/views/Inbox.svelte", "src/views/Composer.svelte"]);
        assert_eq!(fits("nothing"), [""; 0]);
    }

    #[test]
    fn without_a_word_the_top_is_shown_and_no_more_than_was_asked_for() {
        assert_eq!(fits(""), ["src/", "docs/", "README.md"]);
        let many: Vec<String> = (0..10_000).map(|n| format!("dir/file{n}.rs")).collect();
        assert_eq!(fitting(&many, "file", 3), ["dir/file0.rs", "dir/file1.rs", "dir/file2.rs"]);
    }
}
