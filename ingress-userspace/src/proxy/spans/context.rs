//! Who a request's spans belong to: what a client's fields say (W3C Trace Context, B3), and what an
//! endpoint is told. No I/O; what cannot be understood counts as not said.

mod b3;
mod w3c;

use super::hex;
use crate::{
    model::{Propagator, Tracing},
    proxy::message::Fields,
};

/// `traceparent`: the request is sampled.
const SAMPLED: u8 = 1;
/// Likewise: the trace's lowest seven bytes are random (Level 2).
const RANDOM: u8 = 2;

/// What came before: a client's span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remote {
    /// Never zero. `None`: only whether spans are wanted was said (B3).
    ids: Option<(u128, u64)>,
    /// `None`: it leaves that to us (B3).
    sampled: Option<bool>,
    random: bool,
    /// B3's wish to see this request whatever samplers say.
    debug: bool,
    /// `tracestate`, as it is to be passed on.
    state: Vec<u8>,
}

/// A request's place in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// Never zero.
    pub(super) trace: u128,
    /// The request's own span; never zero.
    pub(super) span: u64,
    /// The client's span.
    pub(super) parent: Option<u64>,
    pub(super) sampled: bool,
    random: bool,
    debug: bool,
    /// `tracestate`.
    pub(super) state: Vec<u8>,
    /// The fields that endpoints get.
    outgoing: [bool; 3],
    /// Else nothing that the client says of a trace reaches them.
    trusted: bool,
}

const ALL: [Propagator; 3] = [Propagator::TraceContext, Propagator::B3, Propagator::B3Multi];

fn place(propagator: Propagator) -> usize {
    match propagator {
        Propagator::TraceContext => 0,
        Propagator::B3 => 1,
        Propagator::B3Multi => 2,
    }
}

fn read(propagator: Propagator, fields: &Fields) -> Option<Remote> {
    match propagator {
        Propagator::TraceContext => w3c::read(fields),
        Propagator::B3 => b3::read_one(fields),
        Propagator::B3Multi => b3::read_many(fields),
    }
}

impl Context {
    /// Goes on with a client's trace if `trust`, or begins one.
    pub(super) fn begin(
        fields: &Fields,
        tracing: &Tracing,
        trust: bool,
        random: &mut fastrand::Rng,
    ) -> Self {
        let read_by = tracing.propagators.as_deref().unwrap_or(&ALL);
        let mut remote = None;
        let mut outgoing = [true, false, false];
        if let Some(own) = &tracing.propagators {
            outgoing = ALL.map(|propagator| own.contains(&propagator));
        }
        for propagator in read_by {
            let Some(found) = read(*propagator, fields) else { continue };
            // Who comes with B3 has endpoints that look for it.
            outgoing[place(*propagator)] = true;
            remote.get_or_insert(found);
        }
        let remote = remote.filter(|_| trust).unwrap_or_default();
        let (trace, parent) = match remote.ids {
            Some((trace, parent)) => (trace, Some(parent)),
            None => (random.u128(1..), None),
        };
        let said = remote.sampled.filter(|_| tracing.parent_based);
        let sampled = remote.debug || said.unwrap_or_else(|| tracing.sampler.takes(trace));
        Self {
            trace,
            span: random.u64(1..),
            parent,
            sampled,
            random: remote.random,
            debug: remote.debug,
            state: remote.state,
            outgoing,
            trusted: trust,
        }
    }

    /// Replaces what the fields say with this span of ours.
    pub(super) fn write(&self, span: u64, fields: &mut Fields) {
        if self.outgoing[0] || !self.trusted {
            w3c::clear(fields);
        }
        if self.outgoing[0] {
            fields.push(w3c::PARENT, &self.traceparent(span));
            if !self.state.is_empty() {
                fields.push(w3c::STATE, &self.state);
            }
        }
        if self.outgoing[1] || self.outgoing[2] || !self.trusted {
            b3::clear(fields);
        }
        if self.outgoing[1] {
            fields.push(b3::ONE, &self.b3(span));
        }
        if self.outgoing[2] {
            b3::write_many(self, span, fields);
        }
    }

    /// As `traceparent` has it.
    pub(super) fn traceparent(&self, span: u64) -> Vec<u8> {
        let mut flags = if self.sampled { SAMPLED } else { 0 };
        if self.random {
            flags |= RANDOM;
        }
        format!("00-{:032x}-{span:016x}-{flags:02x}", self.trace).into_bytes()
    }

    /// As `b3` has it.
    pub(super) fn b3(&self, span: u64) -> Vec<u8> {
        let sampled = match (self.debug, self.sampled) {
            (true, _) => 'd',
            (false, true) => '1',
            (false, false) => '0',
        };
        format!("{:032x}-{span:016x}-{sampled}", self.trace).into_bytes()
    }

    /// The lower bits of a span's `flags`: those of `traceparent`.
    pub(super) fn flags(&self) -> u32 {
        u32::from(self.sampled) | u32::from(self.random) << 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Export, OtlpProtocol, Sampler};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn tracing() -> Tracing {
        Tracing {
            enabled: true,
            trust: true,
            name: None,
            attempt_name: None,
            sampler: Sampler::AlwaysOn,
            parent_based: true,
            propagators: None,
            export: Arc::new(Export {
                protocol: OtlpProtocol::Grpc,
                tls: false,
                host: "c".into(),
                port: 1,
                path: "/".into(),
                service: "s".into(),
                queue: 1,
                delay: Default::default(),
                batch: 1,
            }),
        }
    }

    fn fields(all: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in all {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn begin_with(all: &[(&str, &str)], tracing: &Tracing, trust: bool) -> Context {
        Context::begin(&fields(all), tracing, trust, &mut fastrand::Rng::with_seed(7))
    }

    fn begin(all: &[(&str, &str)]) -> Context {
        begin_with(all, &tracing(), true)
    }

    fn goes_on(context: &Context) -> bool {
        format!("{:032x}", context.trace) == TRACE
            && context.parent.map(|parent| format!("{parent:016x}")).as_deref() == Some(SPAN)
    }

    fn written(context: &Context, all: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut fields = fields(all);
        context.write(0x1234, &mut fields);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|field| (text(field.name), text(field.value))).collect()
    }

    #[test]
    fn a_traceparent_is_gone_on_with() {
        for (flags, sampled, out_flags) in
            [("01", true, "01"), ("00", false, "00"), ("03", true, "03"), ("fe", false, "02")]
        {
            let parent = format!("00-{TRACE}-{SPAN}-{flags}");
            let all = [("traceparent", &*parent), ("tracestate", "a=1,b=2")];
            let context = begin(&all);
            assert!(goes_on(&context), "{flags}");
            assert_eq!(context.sampled, sampled, "{flags}");
            let out = written(&context, &all);
            assert_eq!(out[0].1, format!("00-{TRACE}-0000000000001234-{out_flags}"));
            assert_eq!(out[1], ("tracestate".to_owned(), "a=1,b=2".to_owned()));
            assert_eq!(out.len(), 2);
        }
    }

    #[test]
    fn a_traceparent_that_breaks_a_rule_is_none() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let wrong = [
            String::new(),
            "00".to_owned(),
            good[..54].to_owned(),
            format!("{good}-"),
            format!("{good}0"),
            format!("ff{}", &good[2..]),
            format!("0x{}", &good[2..]),
            good.to_uppercase(),
            good.replace('-', "_"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}-+7ad6b7169203331-01"),
            format!("cc-{TRACE}-{SPAN}-01x"),
            "a".repeat(30_000),
        ];
        for wrong in &wrong {
            let all = [("traceparent", &**wrong), ("tracestate", "a=1")];
            let context = begin(&all);
            assert!(!goes_on(&context) && context.parent.is_none(), "{wrong}");
            // A state belongs to its parent.
            assert_eq!(written(&context, &all).len(), 1, "{wrong}");
        }
        // Two of them are none, even if both are the same.
        assert!(!goes_on(&begin(&[("traceparent", &good), ("Traceparent", &good)])));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like");
        let all = [("traceparent", &*later)];
        let context = begin(&all);
        assert!(goes_on(&context) && context.sampled);
        assert_eq!(written(&context, &all)[0].1, format!("00-{TRACE}-0000000000001234-01"));
        assert!(goes_on(&begin(&[("traceparent", &format!("cc-{TRACE}-{SPAN}-01"))])));
    }

    #[test]
    fn a_tracestate_is_passed_on_within_its_limits() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |values: &[&str]| {
            let mut all = vec![("traceparent", &*parent)];
            all.extend(values.iter().map(|value| ("tracestate", *value)));
            String::from_utf8(begin(&all).state).expect("text")
        };
        assert_eq!(state(&["a=1", "b=2, c@d=3"]), "a=1,b=2,c@d=3");
        assert_eq!(state(&["", " , a=1 ,"]), "a=1");
        for wrong in ["a", "=1", "A=1", "a=1,b", "a=1,a=2", "a=\u{e9}", "a=b=c", "a b=1"] {
            assert_eq!(state(&[wrong]), "", "{wrong}");
        }
        let many = |count| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&many(32)]), many(32));
        assert_eq!(state(&[&many(33)]), "");
        // The longest go first, then the last.
        let long = format!("a=1,b={},c=2", "x".repeat(200));
        assert_eq!(state(&[&long]), long);
        let longer = format!("a=1,b={},c=2,d={}", "x".repeat(250), "y".repeat(256));
        assert_eq!(state(&[&longer]), "a=1,c=2");
        let all: Vec<_> = (0..20).map(|n| format!("k{n}={}", "v".repeat(50))).collect();
        let cut = state(&[&all.join(",")]);
        assert!(cut.len() <= 512 && cut.starts_with("k0=") && !cut.ends_with(','), "{cut}");
    }

    #[test]
    fn b3_is_read_and_answered_in_the_form_in_which_it_came() {
        let one = format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90");
        let all = [("b3", &*one)];
        let context = begin(&all);
        assert!(goes_on(&context) && context.sampled);
        let out = written(&context, &all);
        assert_eq!(out[0].0, "traceparent");
        assert_eq!(out[1], ("b3".to_owned(), format!("{TRACE}-0000000000001234-1")));
        let many = [
            ("X-B3-TraceId", TRACE),
            ("X-B3-SpanId", SPAN),
            ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
            ("X-B3-Sampled", "0"),
        ];
        let context = begin(&many);
        assert!(goes_on(&context) && !context.sampled);
        let out = written(&context, &many);
        let names: Vec<_> = out.iter().map(|(name, _)| name.as_str()).collect();
        let expected =
            ["traceparent", "X-B3-TraceId", "X-B3-SpanId", "X-B3-ParentSpanId", "X-B3-Sampled"];
        assert_eq!(names, expected);
        assert_eq!(out[2].1, "0000000000001234");
        // Traces of 64 bits.
        let short = begin(&[("b3", &format!("8448eb211c80319c-{SPAN}"))]);
        assert_eq!(short.trace, 0x8448_eb21_1c80_319c);
        assert!(short.sampled);
        // A decision alone.
        assert!(!begin(&[("b3", "0")]).sampled);
        assert!(begin(&[("x-b3-flags", "1")]).debug);
        let off = Tracing { sampler: Sampler::AlwaysOff, ..tracing() };
        assert!(begin_with(&[("b3", "d")], &off, true).sampled);
    }

    #[test]
    fn b3_that_breaks_a_rule_is_none() {
        let zero = "0".repeat(32);
        for wrong in [
            "",
            "2",
            "-",
            TRACE,
            &format!("{TRACE}-"),
            &format!("{TRACE}-{SPAN}-x"),
            &format!("{TRACE}-{SPAN}-1-1-1"),
            &format!("{TRACE}-{SPAN}-1-zz"),
            &format!("{zero}-{SPAN}-1"),
            &format!("{TRACE}-0000000000000000-1"),
            &format!("{TRACE}0-{SPAN}-1"),
            &format!("{TRACE}-+7ad6b7169203331-1"),
            &"a-".repeat(10_000),
        ] {
            let context = begin(&[("b3", wrong)]);
            assert!(context.parent.is_none() && !goes_on(&context), "{wrong}");
        }
        assert!(!goes_on(&begin(&[("x-b3-traceid", TRACE)])));
        assert!(!goes_on(&begin(&[("x-b3-traceid", "x"), ("x-b3-spanid", SPAN)])));
    }

    #[test]
    fn who_is_not_trusted_begins_anew() {
        let parent = format!("00-{TRACE}-{SPAN}-00");
        let one = format!("{TRACE}-{SPAN}-0");
        let all = [("traceparent", &*parent), ("tracestate", "a=1"), ("b3", &*one)];
        let context = begin_with(&all, &tracing(), false);
        assert!(!goes_on(&context) && context.parent.is_none() && context.sampled);
        // Nothing of it reaches the endpoint.
        let out = written(&context, &all);
        assert!(out.iter().all(|(_, value)| !value.contains(TRACE)), "{out:?}");
        assert_eq!(out.len(), 2);
        // Also what is not understood, and what nobody was asked to read.
        let all = [("b3", "broken"), ("x-b3-spanid", SPAN), ("traceparent", &*parent)];
        let propagators = Some([Propagator::TraceContext].into());
        let only = Tracing { propagators, ..tracing() };
        for tracing in [tracing(), only] {
            let out = written(&begin_with(&all, &tracing, false), &all);
            assert!(out.len() == 1 && out[0].0 == "traceparent", "{out:?}");
        }
    }

    #[test]
    fn samplers_decide_as_they_are_told() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        let not = format!("00-{TRACE}-{SPAN}-00");
        let decide = |sampler, parent_based, parent: Option<&str>| {
            let all: Vec<_> = parent.map(|parent| ("traceparent", parent)).into_iter().collect();
            begin_with(&all, &Tracing { sampler, parent_based, ..tracing() }, true).sampled
        };
        use Sampler::{AlwaysOff, AlwaysOn};
        assert!(decide(AlwaysOff, true, Some(&sampled)));
        assert!(!decide(AlwaysOn, true, Some(&not)));
        assert!(!decide(AlwaysOff, false, Some(&sampled)));
        assert!(decide(AlwaysOn, false, Some(&not)));
        assert!(decide(AlwaysOn, true, None) && !decide(AlwaysOff, true, None));
    }

    #[test]
    fn named_propagators_alone_are_read_and_written() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let one = format!("1{}-{SPAN}-1", &TRACE[1..]);
        let all = [("traceparent", &*parent), ("b3", &*one)];
        let with = |own: &[Propagator]| {
            let tracing = Tracing { propagators: Some(own.into()), ..tracing() };
            let context = begin_with(&all, &tracing, true);
            (goes_on(&context), written(&context, &all))
        };
        let (w3c, out) = with(&[Propagator::TraceContext]);
        // What is not ours to say passes as it came.
        assert!(w3c && out.contains(&("b3".to_owned(), one.clone())), "{out:?}");
        let (w3c, out) = with(&[Propagator::B3, Propagator::TraceContext]);
        assert!(!w3c && out.len() == 2, "{out:?}");
        let (w3c, out) = with(&[Propagator::B3Multi]);
        assert!(!w3c && out.iter().any(|(name, _)| name == "X-B3-TraceId"), "{out:?}");
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_does_harm(
            parent in "[ -~]{0,80}", state in "[ -~]{0,600}", b3 in "[0-9a-f-]{0,80}",
        ) {
            let all = [("traceparent", &*parent), ("tracestate", &*state), ("b3", &*b3)];
            let context = begin(&all);
            prop_assert!(context.trace != 0 && context.span != 0 && context.parent != Some(0));
            prop_assert!(context.state.len() <= 512);
            for (name, value) in written(&context, &all) {
                prop_assert!(!value.contains(['\r', '\n']), "{}", name);
            }
        }
    }
}
