//! What a person types while attached: for the program, but for the two keys that leave it.

/// The prefix and the key that leaves. Twice the prefix is the prefix once; before any other key it is itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    prefix: u8,
    key: u8,
}

/// `C-\`, or `C-a q` with another key than `d`.
pub(super) fn parse(text: &str) -> Result<Leave, String> {
    let bad = || format!("not a key to leave with: {text} (C-\\, C-a, C-] or C-a q)");
    let mut words = text.split_whitespace();
    let prefix = words.next().and_then(control).ok_or_else(bad)?;
    let key = match words.next() {
        Some(word) => control(word).or_else(|| letter(word)).ok_or_else(bad)?,
        None => b'd',
    };
    if words.next().is_some() || key == prefix {
        return Err(bad());
    }
    Ok(Leave { prefix, key })
}

fn control(word: &str) -> Option<u8> {
    let letter = letter(word.strip_prefix("C-")?)?.to_ascii_uppercase();
    // Escape is how every other key begins.
    (matches!(letter, b'@'..=b'_') && letter != b'[').then_some(letter & 0x1f)
}

fn letter(word: &str) -> Option<u8> {
    let [byte] = word.as_bytes() else { return None };
    byte.is_ascii_graphic().then_some(*byte)
}

#[derive(Debug)]
pub(super) struct Keys {
    leave: Leave,
    prefixed: bool,
}

impl Keys {
    pub(super) fn new(leave: Leave) -> Self {
        Self { leave, prefixed: false }
    }

    /// What of it is for the program, and whether the person leaves.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let Leave { prefix, key } = self.leave;
        let mut typed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            match (std::mem::take(&mut self.prefixed), *byte) {
                (false, byte) if byte == prefix => self.prefixed = true,
                (false, byte) => typed.push(byte),
                (true, byte) if byte == key => return (typed, true),
                (true, byte) if byte == prefix => typed.push(prefix),
                (true, byte) => typed.extend([prefix, byte]),
            }
        }
        (typed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_keys_leave() {
        let mut keys = Keys::new(parse("C-\\").unwrap());
        assert_eq!(keys.take(b"ad\x1cx\x1c\x1cd"), (b"ad\x1cx\x1cd".to_vec(), false));
        assert_eq!(keys.take(b"a\x1c"), (b"a".to_vec(), false));
        assert_eq!(keys.take(b"dd"), (Vec::new(), true), "also when they come one by one");
        let mut keys = Keys::new(parse("C-a q").unwrap());
        assert_eq!(keys.take(b"\x1cd\x01d\x01q"), (b"\x1cd\x01d".to_vec(), true));
    }

    #[test]
    fn a_key_to_leave_with_is_two_keys() {
        for bad in ["", "d", "C-", "C-[", "C-a C-a", "C-a b c", "M-a", "C-é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("C-a C-d"), Ok(Leave { prefix: 1, key: 4 }));
    }
}
