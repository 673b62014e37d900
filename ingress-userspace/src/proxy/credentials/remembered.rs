use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::Mark;

/// How long what was right is remembered, at least; twice as long at most.
const FOR: Duration = Duration::from_secs(150);

/// How many are remembered, at least where there are as many; twice as many at most.
const MOST: usize = 1024;

/// What was right lately, in two generations: the older is dropped as a whole.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    young: HashSet<Mark>,
    old: HashSet<Mark>,
    /// When the young ones began.
    since: Option<Instant>,
}

impl Remembered {
    pub(super) fn contains(&mut self, mark: &Mark, now: Instant) -> bool {
        self.age(now);
        // A clock that tells how far a mark is right tells nothing: nobody knows the key.
        self.young.contains(mark) || self.old.contains(mark)
    }

    pub(super) fn insert(&mut self, mark: Mark, now: Instant) {
        self.age(now);
        if self.young.len() >= MOST {
            self.turn(now);
        }
        self.young.insert(mark);
    }

    fn age(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= FOR * 2 {
            // Nobody came for so long that the young are old, too.
            self.young.clear();
        }
        if age >= FOR {
            self.turn(now);
        }
    }

    fn turn(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_forgotten_in_time() {
        let start = Instant::now();
        let mut remembered = Remembered::default();
        remembered.insert([1; 32], start);
        assert!(remembered.contains(&[1; 32], start + FOR - Duration::from_millis(1)));
        assert!(remembered.contains(&[1; 32], start + FOR), "now it is old");
        assert!(!remembered.contains(&[1; 32], start + FOR * 2));
        remembered.insert([2; 32], start + FOR * 2);
        assert!(!remembered.contains(&[2; 32], start + FOR * 4), "nobody came in between");
        assert!(!remembered.contains(&[1; 32], start + FOR * 4));
    }

    #[test]
    fn only_so_much_is_remembered() {
        let now = Instant::now();
        let mut remembered = Remembered::default();
        let mark = |number: usize| {
            let mut mark = [0; 32];
            mark[..8].copy_from_slice(&number.to_le_bytes());
            mark
        };
        for number in 0..MOST * 5 {
            remembered.insert(mark(number), now);
        }
        assert!(remembered.young.len() + remembered.old.len() <= MOST * 2);
        assert!(remembered.contains(&mark(MOST * 5 - 1), now));
        assert!(!remembered.contains(&mark(0), now));
    }
}
