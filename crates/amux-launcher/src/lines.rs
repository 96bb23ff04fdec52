//! Bytes become lines, whatever the bytes are: a line that does not end costs a bounded buffer. Pure.

/// What one stream has said since its last newline.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    cut: usize,
}

/// Longer than any line a person reads; the ready line is a tenth of it.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024;

impl Lines {
    /// Every line that `bytes` end, in order.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.take(&rest[..end]);
            lines.extend(self.finish());
            rest = &rest[end + 1..];
        }
        self.take(rest);
        lines
    }

    /// The stream ended: what was begun is a line too.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let (begun, cut) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.cut));
        let text = String::from_utf8_lossy(&begun);
        let text = text.trim_end();
        match cut {
            0 if text.is_empty() => None,
            0 => Some(text.to_owned()),
            cut => Some(format!("{text} [{cut} bytes cut]")),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.begun.len();
        let kept = bytes.len().min(room);
        self.begun.extend_from_slice(&bytes[..kept]);
        self.cut += bytes.len() - kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let bytes = "one\r\n\ntwo ü\nthree".as_bytes();
        for size in 1..bytes.len() {
            let mut lines = Lines::default();
            let mut all: Vec<_> = bytes.chunks(size).flat_map(|chunk| lines.feed(chunk)).collect();
            all.extend(lines.finish());
            assert_eq!(all, ["one", "two ü", "three"]);
        }
    }

    #[test]
    fn a_line_without_an_end_costs_a_bounded_buffer() {
        let mut lines = Lines::default();
        for _ in 0..10_000 {
            assert_eq!(lines.feed(&[b'x'; 10_000]), [""; 0]);
        }
        assert!(lines.begun.capacity() <= 2 * LINE_BYTES_MAX);
        let [line, next] = &lines.feed(b"y\nnext\n")[..] else { panic!("two lines") };
        assert!(line.starts_with("xxx") && line.ends_with(&format!("[{} bytes cut]", 100_000_001 - LINE_BYTES_MAX)));
        assert_eq!(next, "next");
    }
}
