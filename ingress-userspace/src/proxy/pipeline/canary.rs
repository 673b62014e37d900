//! Step 8 (f): whether a request goes to the canary of its backend (reference section 7).

use std::{borrow::Cow, sync::Arc};

use super::variables;
use crate::{
    model::{Backend, BackendId, Canary, CanaryHeader, CanaryHeaderRule},
    proxy::{
        balance::{Choice, View},
        message::Fields,
    },
};

/// Whose endpoints a request goes to.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'v> {
    pub(super) choice: Choice<'v>,
    pub(super) backend: &'v Arc<Backend>,
    /// It is not the one that the route leads to.
    pub(super) is_canary: bool,
}

impl<'v> Chosen<'v> {
    /// This backend itself, whatever its canary.
    pub(super) fn itself(id: BackendId, backend: &'v Arc<Backend>) -> Self {
        let affinity = backend.balancing.affinity.as_ref();
        Self { choice: Choice { id, affinity }, backend, is_canary: false }
    }
}

/// The main backend, which has endpoints, or its canary, if that has some.
pub(super) fn choose<'v>(
    view: &'v View,
    fields: &Fields,
    id: BackendId,
    main: &'v Arc<Backend>,
) -> Chosen<'v> {
    let own = Chosen::itself(id, main);
    let affinity = own.choice.affinity;
    let Some(canary) = &main.balancing.canary else { return own };
    let backend = view.backend(canary.backend).filter(|other| !other.endpoints.is_empty());
    let Some(backend) = backend else { return own };
    let session = affinity.and_then(|own| variables::cookie(fields, &own.cookie.name));
    let is_of = |id| session.is_some_and(|cookie| view.has_session(id, cookie));
    let takes = !is_of(id)
        && (canary.sticky && is_of(canary.backend)
            || decide(canary, fields, |total| view.throw(total)));
    if !takes {
        return own;
    }
    let affinity = affinity.filter(|_| canary.sticky);
    Chosen { choice: Choice { id: canary.backend, affinity }, backend, is_canary: true }
}

/// The rules that are not about sessions, in their order: header, cookie, weight.
pub(super) fn decide(canary: &Canary, fields: &Fields, throw: impl FnOnce(u32) -> u32) -> bool {
    let by_header = canary.header.as_ref().and_then(|header| by_header(header, fields));
    let by_cookie = || {
        let name = canary.cookie.as_ref()?;
        word(variables::cookie(fields, name)?)
    };
    // Nothing is thrown where chance cannot decide: most canaries begin with a weight of zero.
    let by_weight = || canary.weight > 0 && throw(canary.total) <= canary.weight;
    by_header.or_else(by_cookie).unwrap_or_else(by_weight)
}

/// What the header decides, if anything.
fn by_header(header: &CanaryHeader, fields: &Fields) -> Option<bool> {
    let value = value(fields, &header.name)?;
    match &header.rule {
        CanaryHeaderRule::Word => word(&value),
        CanaryHeaderRule::Value(wanted) => (*value == *wanted.as_bytes()).then_some(true),
        CanaryHeaderRule::Pattern(pattern) => match std::str::from_utf8(&value) {
            Ok(text) => match pattern.is_match(text) {
                Ok(true) => Some(true),
                Ok(false) => None,
                // What cannot be decided in time goes to the main backend.
                Err(_undecided) => Some(false),
            },
            Err(_no_text) => None,
        },
    }
}

/// The two words that decide.
fn word(value: &[u8]) -> Option<bool> {
    match value {
        b"always" => Some(true),
        b"never" => Some(false),
        _ => None,
    }
}

/// A header's value; several lines are one list, as everywhere in HTTP.
fn value<'f>(fields: &'f Fields, name: &str) -> Option<Cow<'f, [u8]>> {
    let mut lines =
        fields.iter().filter(|field| field.is_named(name.as_bytes())).map(|field| field.value);
    let first = lines.next()?;
    let mut list = Cow::Borrowed(first);
    for line in lines {
        let list = list.to_mut();
        list.extend_from_slice(b", ");
        list.extend_from_slice(line);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Case, Expression, ObjectRef};

    fn canary(header: Option<CanaryHeaderRule>, cookie: bool, weight: u32) -> Canary {
        Canary {
            ingress: ObjectRef::new("Ingress", "web", "canary"),
            backend: BackendId(1),
            header: header.map(|rule| CanaryHeader { name: "x-canary".into(), rule }),
            cookie: cookie.then(|| "canary".into()),
            weight,
            total: 100,
            sticky: true,
        }
    }

    fn fields(header: &[&str], cookie: Option<&str>) -> Fields {
        let mut fields = Fields::default();
        for value in header {
            fields.push(b"X-Canary", value.as_bytes());
        }
        if let Some(value) = cookie {
            fields.push(b"cookie", format!("a=b; canary={value}; c=d").as_bytes());
        }
        fields
    }

    /// `None`: chance decides.
    fn decided(rule: CanaryHeaderRule, header: &[&str], cookie: Option<&str>) -> Option<bool> {
        let canary = canary(Some(rule), true, 50);
        let fields = fields(header, cookie);
        let thrown = Cell::new(false);
        let throw = |value| {
            decide(&canary, &fields, |total| {
                assert_eq!(total, 100);
                thrown.set(true);
                value
            })
        };
        let low = throw(50);
        let high = throw(51);
        if thrown.get() {
            assert!(low && !high);
            None
        } else {
            assert_eq!(low, high);
            Some(low)
        }
    }

    #[test]
    fn a_header_decides_before_a_cookie_and_that_before_chance() {
        let word = || CanaryHeaderRule::Word;
        let value = || CanaryHeaderRule::Value("new".into());
        let pattern =
            || CanaryHeaderRule::Pattern(Expression::new("^n(?=ew)", Case::Told).unwrap());
        for (rule, header, cookie, expected) in [
            (word(), &["always"][..], Some("never"), Some(true)),
            (word(), &["never"], Some("always"), Some(false)),
            (word(), &["Always"], Some("always"), Some(true)),
            (word(), &[""], None, None),
            (word(), &[], Some("never"), Some(false)),
            (word(), &[], Some("perhaps"), None),
            (word(), &["always", "always"], None, None),
            (value(), &["new"], Some("never"), Some(true)),
            (value(), &["NEW"], Some("never"), Some(false)),
            (value(), &["always"], None, None),
            (value(), &["never"], Some("always"), Some(true)),
            (value(), &["ne", "w"], None, None),
            (pattern(), &["newer"], Some("never"), Some(true)),
            (pattern(), &["a new"], Some("always"), Some(true)),
            (pattern(), &["New"], None, None),
            (pattern(), &["never"], None, None),
        ] {
            let text = format!("{rule:?} {header:?} {cookie:?}");
            assert_eq!(decided(rule, header, cookie), expected, "{text}");
        }
        let listed = CanaryHeaderRule::Value("a, b".into());
        assert_eq!(decided(listed, &["a", "b"], None), Some(true));
    }

    #[test]
    fn a_pattern_that_cannot_be_decided_leads_to_the_main_backend() {
        let pattern = Expression::new("((?=a)a|a(?!c))+$", Case::Told).unwrap();
        let long = format!("{}b", "a".repeat(4000));
        let decided = decided(CanaryHeaderRule::Pattern(pattern), &[&long], Some("always"));
        assert_eq!(decided, Some(false));
    }

    #[test]
    fn a_weight_is_a_share_of_its_total() {
        let mut random = fastrand::Rng::with_seed(11);
        let empty = Fields::default();
        for (weight, total) in [(0, 100), (1, 100), (10, 100), (50, 1000), (100, 100), (1000, 1000)]
        {
            let canary = Canary { total, ..canary(None, false, weight) };
            let taken = (0..100_000)
                .filter(|_| decide(&canary, &empty, |total| random.u32(1..=total)))
                .count();
            let share = f64::from(weight) / f64::from(total);
            let expected = 100_000.0 * share;
            // Five standard deviations; with this seed the outcome is always the same.
            let width = 5.0 * (100_000.0 * share * (1.0 - share)).sqrt();
            assert!((taken as f64 - expected).abs() <= width, "{weight}/{total}: {taken}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_is_decided(header in ".*", cookie in "[!-:<-~]*", weight in 0_u32..3) {
            let pattern = Expression::new("a(?!b)|[0-9]+", Case::Told).unwrap();
            for rule in [CanaryHeaderRule::Word, CanaryHeaderRule::Pattern(pattern)] {
                let canary = canary(Some(rule), true, weight);
                let first = decide(&canary, &fields(&[&header], Some(&cookie)), |_| 2);
                let second = decide(&canary, &fields(&[&header], Some(&cookie)), |_| 2);
                prop_assert_eq!(first, second);
            }
        }
    }
}
