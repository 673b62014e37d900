use super::{Budget, Verdict, is_of_connection, length};
use crate::proxy::{
    http2::hpack::{Decoded, Kind, Sink},
    message::{BodyLength, Known, ResponseHead},
};

/// Reads the head of an answer from a block (RFC 9113, section 8.3.2).
pub(crate) struct ResponseReader<'h> {
    head: &'h mut ResponseHead,
    budget: Budget,
    verdict: Verdict,
    length: Option<u64>,
    field: bool,
}

impl<'h> ResponseReader<'h> {
    /// Fills `head`, which is empty, with at most `list` bytes of fields.
    pub(crate) fn new(head: &'h mut ResponseHead, list: usize) -> Self {
        Self { head, budget: Budget(list), verdict: Verdict::Sound, length: None, field: false }
    }

    /// The block has ended. `end`: and with it the answer. `to_head`: the request was HEAD.
    pub(crate) fn finish(mut self, end: bool, to_head: bool) -> Verdict {
        let status = self.head.status;
        let bodiless = to_head || matches!(status, 100..200 | 204 | 304);
        // 101 does not exist in HTTP/2 (section 8.6); an interim answer ends nothing.
        if !(100..1000).contains(&status) || status == 101 || (status < 200 && end) {
            self.verdict.worsen(Verdict::Malformed);
        }
        self.head.body = match self.length {
            _ if bodiless => BodyLength::None,
            Some(length) => BodyLength::Exact(length),
            None if end => BodyLength::Exact(0),
            None => BodyLength::Unknown,
        };
        if end && matches!(self.head.body, BodyLength::Exact(1..)) {
            self.verdict.worsen(Verdict::Malformed);
        }
        self.verdict
    }

    fn status(&mut self, value: &[u8]) -> bool {
        let digits = value.len() == 3 && value.iter().all(u8::is_ascii_digit);
        let new = self.head.status == 0 && !self.field;
        if digits {
            self.head.status =
                value.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        }
        digits && new
    }

    fn regular(&mut self, known: Option<Known>, field: &Decoded<'_>) -> bool {
        self.field = true;
        if is_of_connection(known, field.value) {
            return false;
        }
        if known == Some(Known::ContentLength) {
            let length = length(field.value);
            if length.is_none() || self.length.is_some_and(|first| Some(first) != length) {
                return false;
            }
            if self.length.is_some() {
                return true;
            }
            self.length = length;
        }
        match known {
            Some(known) => self.head.fields.push_known(known, field.value),
            None => self.head.fields.push(field.name, field.value),
        }
        true
    }
}

impl Sink for ResponseReader<'_> {
    fn field(&mut self, field: Decoded<'_>) {
        if !self.budget.admit(&field) {
            self.verdict.worsen(Verdict::TooLarge);
        }
        if self.verdict != Verdict::Sound {
            return;
        }
        let sound = field.sound
            && match field.kind {
                Kind::Field(known) => self.regular(known, &field),
                Kind::Status => self.status(field.value),
                _ => false,
            };
        if !sound {
            self.verdict.worsen(Verdict::Malformed);
        }
    }

    fn oversized(&mut self) {
        self.verdict.worsen(Verdict::TooLarge);
    }
}
