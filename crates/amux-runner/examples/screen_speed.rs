//! How fast a screen takes output: `cargo run --release -p amux-runner --example screen_speed`.

use std::time::Instant;

use amux_proto::entity::Size;
use amux_runner::screen::Screen;

fn main() {
    let ascii = "the quick brown fox jumps over the lazy dog, and again and again\r\n".to_owned();
    let mixed = (0..200)
        .map(|n| {
            format!(
                "\x1b[32m12:00:{n:02}\x1b[0m \x1b[1;34mINFO\x1b[0m request {n} took \x1b[38;2;{n};120;200m{n} ms\x1b[0m 日本語 ✓\r\n\
                 \x1b]8;;http://x/{n}\x1b\\link\x1b]8;;\x1b\\ \x1b[2K\r[####    ] {n}%\x1b[K\x1b]133;A\x07\r\n"
            )
        })
        .collect();
    for (name, text) in [("ascii", ascii), ("mixed", mixed)] {
        let chunk: Vec<u8> = text.as_bytes().iter().copied().cycle().take(64 << 10).collect();
        let mut screen = Screen::live(Size { rows: 40, cols: 120 });
        let since = Instant::now();
        for _ in 0..1600 {
            screen.feed(&chunk);
            screen.take_signs();
        }
        let seconds = since.elapsed().as_secs_f64();
        println!("{name}: {:.0} MB/s", (1600 * chunk.len()) as f64 / 1e6 / seconds);
        let since = Instant::now();
        let bytes = screen.snapshot().len();
        println!("{name}: a snapshot of {bytes} bytes in {:.0} us", since.elapsed().as_secs_f64() * 1e6);
    }
}
