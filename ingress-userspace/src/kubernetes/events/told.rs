//! What was said and when: what is said again, and how often. As client-go's event correlator: equal
//! Events are one that is counted, and none says more than its share.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{bucket::Bucket, note::Note};
use crate::model::ObjectRef;

/// What is wrong is said again while it lasts: the API server forgets Events after an hour.
pub(super) const AGAIN: Duration = Duration::from_secs(30 * 60);
/// The API server's own limit.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// About one object: so many at once, then one in five minutes, as client-go.
const PER_OBJECT: (u32, Duration) = (25, Duration::from_secs(300));
/// About all of them.
const OVERALL: (u32, Duration) = (100, Duration::from_millis(100));

/// What was said.
#[derive(Debug)]
pub(super) struct Told {
    notes: HashMap<Note, Entry>,
    objects: HashMap<ObjectRef, Bucket>,
    overall: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How often; `None`: another replica began.
    count: Option<i32>,
    at: Instant,
    /// It was so when last looked.
    lasts: bool,
}

/// One Event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) note: Note,
    pub(super) time: Occasion,
}

/// Whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    First,
    /// It is there and says this now; `None`: how often nobody here knows.
    Again(Option<i32>),
}

impl Told {
    pub(super) fn new(now: Instant) -> Self {
        let overall = Bucket::new(OVERALL.0, OVERALL.1, now);
        Self { notes: HashMap::new(), objects: HashMap::new(), overall }
    }

    /// What of `lasting`, all that is wrong now, is to be said now; and whether something has to wait
    /// for its share.
    pub(super) fn lasting(&mut self, lasting: Vec<Note>, now: Instant) -> (Vec<Saying>, bool) {
        let mut sayings = Vec::new();
        let mut waits = false;
        let mut present = std::collections::HashSet::with_capacity(lasting.len());
        for note in lasting {
            let due = match self.notes.get(&note) {
                None => true,
                Some(entry) => !entry.lasts || now.saturating_duration_since(entry.at) >= AGAIN,
            };
            if due {
                match self.say(note.clone(), now) {
                    Some(saying) => sayings.push(saying),
                    None => waits = true,
                }
            }
            present.insert(note);
        }
        self.notes.retain(|note, entry| {
            // What happens once, as `Sync`, never lasts.
            entry.lasts = entry.lasts && present.contains(note);
            entry.lasts || now.saturating_duration_since(entry.at) < FORGOTTEN
        });
        self.objects.retain(|_, bucket| !bucket.is_full(now));
        (sayings, waits)
    }

    /// Something happened; `None`: too much of it does.
    pub(super) fn happened(&mut self, note: Note, now: Instant) -> Option<Saying> {
        self.say(note, now)
    }

    fn say(&mut self, note: Note, now: Instant) -> Option<Saying> {
        let object = self
            .objects
            .entry(note.object.clone())
            .or_insert_with(|| Bucket::new(PER_OBJECT.0, PER_OBJECT.1, now));
        if !object.has(now) || !self.overall.has(now) {
            return None;
        }
        object.take();
        self.overall.take();
        let lasts = note.warning;
        let time = match self.notes.get_mut(&note) {
            Some(entry) => {
                entry.count = entry.count.map(|count| count.saturating_add(1));
                (entry.at, entry.lasts) = (now, lasts);
                Occasion::Again(entry.count)
            }
            None => {
                self.notes.insert(note.clone(), Entry { count: Some(1), at: now, lasts });
                Occasion::First
            }
        };
        Some(Saying { note, time })
    }

    /// It was there already: another replica said it.
    pub(super) fn was_there(&mut self, note: &Note) {
        if let Some(entry) = self.notes.get_mut(note) {
            entry.count = None;
        }
    }

    /// It could not be said: it is due again, and does not count as said about its object. What all
    /// may say together stays used: an API server that refuses is not asked more for that.
    pub(super) fn failed(&mut self, note: &Note) {
        self.notes.remove(note);
        if let Some(object) = self.objects.get_mut(&note.object) {
            object.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn note(object: &str, message: &str) -> Note {
        Note {
            object: ObjectRef::new("Ingress", "web", object),
            uid: String::new(),
            warning: true,
            reason: "Rejected",
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_lasts_is_said_once_and_again_before_it_is_forgotten() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let mut at = |minutes: u64, notes: &[&Note]| {
            let notes = notes.iter().map(|note| (*note).clone()).collect();
            let (sayings, waits) = told.lasting(notes, start + Duration::from_secs(minutes * 60));
            assert!(!waits);
            sayings.into_iter().map(|saying| saying.time).collect::<Vec<_>>()
        };
        let one = note("a", "no");
        assert_eq!(at(0, &[&one]), [Occasion::First]);
        assert_eq!(at(29, &[&one]), []);
        assert_eq!(at(30, &[&one]), [Occasion::Again(Some(2))]);
        assert_eq!(at(31, &[]), []);
        assert_eq!(at(32, &[&one]), [Occasion::Again(Some(3))]);
        assert_eq!(at(33, &[]), []);
        assert_eq!(at(93, &[]), []);
        assert_eq!(at(94, &[&one]), [Occasion::First]);
    }

    #[test]
    fn one_object_does_not_say_more_than_its_share() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let all: Vec<_> = (0..40).map(|number| note("a", &number.to_string())).collect();
        let (sayings, waits) = told.lasting([all.clone(), vec![note("b", "no")]].concat(), start);
        assert_eq!((sayings.len(), waits), (26, true));
        assert_eq!(sayings[25].note.object.name, "b".into());
        // What waited is not lost.
        let later = start + Duration::from_secs(601);
        assert_eq!(told.lasting(all.clone(), later).0.len(), 2);
        assert_eq!(told.lasting(all, later).0.len(), 0);
    }

    #[test]
    fn what_could_not_be_said_costs_its_object_nothing() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let one = note("a", "no");
        for second in 0..60 {
            let now = start + Duration::from_secs(second * 5);
            let (sayings, waits) = told.lasting(vec![one.clone()], now);
            assert_eq!((sayings.len(), waits), (1, false), "attempt {second}");
            told.failed(&one);
        }
        let now = start + Duration::from_secs(301);
        assert_eq!(told.lasting(vec![one.clone()], now).0.len(), 1);
        assert_eq!(told.lasting(vec![one], now).0.len(), 0, "it is said");
    }

    #[test]
    fn what_happens_is_counted() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let sync = Note { warning: false, ..note("a", "Scheduled for sync") };
        let time = |saying: Option<Saying>| saying.map(|saying| saying.time);
        assert_eq!(time(told.happened(sync.clone(), start)), Some(Occasion::First));
        assert_eq!(told.lasting(Vec::new(), start), (Vec::new(), false));
        assert_eq!(time(told.happened(sync.clone(), start)), Some(Occasion::Again(Some(2))));
        told.was_there(&sync);
        assert_eq!(time(told.happened(sync.clone(), start)), Some(Occasion::Again(None)));
        told.failed(&sync);
        assert_eq!(time(told.happened(sync, start)), Some(Occasion::First));
    }

    proptest! {
        /// However much is wrong and however it changes: no more Events than the shares allow, and
        /// all that lasts is said in the end.
        #[test]
        fn shares_hold_and_nothing_that_lasts_is_lost(
            rounds in proptest::collection::vec(
                (0_u64..2000, proptest::collection::vec((0_u8..60, 0_u8..6), 0..80)), 1..30)
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut told = Told::new(now);
            let mut said = 0_u64;
            let mut last = Vec::new();
            for (pause, notes) in rounds {
                now += Duration::from_millis(pause);
                last = notes.into_iter().map(|(object, text)| {
                    note(&format!("o{object}"), &format!("{text}"))
                }).collect();
                said += told.lasting(last.clone(), now).0.len() as u64;
                let most = 100 + (now - start).as_millis() as u64 / 100 + 1;
                prop_assert!(said <= most, "{said} of {most}");
            }
            let mut waits = true;
            for _minute in 0..60 {
                now += Duration::from_secs(61);
                waits = told.lasting(last.clone(), now).1;
            }
            prop_assert!(!waits);
        }
    }
}
