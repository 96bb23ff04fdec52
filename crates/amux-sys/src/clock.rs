//! Time and chance.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by the wall clock.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds that only grow, from an origin of this process.
pub fn mono_ms() -> u64 {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Unpredictable bytes. Without them nothing safe can be made, so their absence ends the process.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no randomness: {error}"),
        }
    }
    bytes
}

/// `base`, shifted at random by up to a quarter in either direction, so that many waiters do not return at once.
pub fn jitter(base: Duration) -> Duration {
    let share = f64::from(u32::from_le_bytes(random_bytes::<4>())) / f64::from(u32::MAX);
    base.mul_f64(0.75 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter_and_moves() {
        let base = Duration::from_millis(1_000);
        let drawn: Vec<_> = (0..100).map(|_| jitter(base)).collect();
        assert!(drawn.iter().all(|d| (750..=1_250).contains(&d.as_millis())));
        assert!(drawn.iter().any(|d| *d != drawn[0]));
    }

    #[test]
    fn random_bytes_differ_each_time() {
        assert_ne!(random_bytes::<32>(), random_bytes::<32>());
    }
}
