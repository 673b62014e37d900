use super::{Budget, Verdict, is_of_connection};
use crate::proxy::{
    http2::hpack::{Decoded, Kind, Sink},
    message::{Fields, Known},
};

/// Reads trailers from a block: fields without pseudo-fields (RFC 9113, section 8.1).
pub(crate) struct TrailersReader<'f> {
    fields: &'f mut Fields,
    budget: Budget,
    verdict: Verdict,
}

impl<'f> TrailersReader<'f> {
    /// Fills `fields` with at most `list` bytes.
    pub(crate) fn new(fields: &'f mut Fields, list: usize) -> Self {
        Self { fields, budget: Budget(list), verdict: Verdict::Sound }
    }

    pub(crate) fn finish(self) -> Verdict {
        self.verdict
    }
}

impl Sink for TrailersReader<'_> {
    fn field(&mut self, field: Decoded<'_>) {
        if !self.budget.admit(&field) {
            self.verdict.worsen(Verdict::TooLarge);
        }
        if self.verdict != Verdict::Sound {
            return;
        }
        match field.kind {
            Kind::Field(known) if field.sound && !is_of_connection(known, field.value) => {
                // They say how a message is framed or where it goes, which was settled before
                // (RFC 9110, section 6.5.1).
                if !matches!(known, Some(Known::ContentLength | Known::Host)) {
                    self.fields.push(field.name, field.value);
                }
            }
            _ => self.verdict.worsen(Verdict::Malformed),
        }
    }

    fn oversized(&mut self) {
        self.verdict.worsen(Verdict::TooLarge);
    }
}

/// Takes a block whose fields nobody wants: only the table has to learn of it.
pub(crate) struct Discard;

impl Sink for Discard {
    fn field(&mut self, _field: Decoded<'_>) {}
    fn oversized(&mut self) {}
}
