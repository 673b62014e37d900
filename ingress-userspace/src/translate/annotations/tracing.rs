//! `enable-opentelemetry`, `opentelemetry-trust-incoming-span`, `opentelemetry-operation-name`
//! (reference section 1.10).

use std::sync::Arc;

use super::{
    Parser,
    value::{Invalid, boolean},
};
use crate::{
    model::{Text, TracePolicy},
    translate::text,
};

const ENABLE: &str = "enable-opentelemetry";
const TRUST: &str = "opentelemetry-trust-incoming-span";
const NAME: &str = "opentelemetry-operation-name";

/// What differs from what the ConfigMap says for all.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<TracePolicy> {
    let policy = TracePolicy {
        enabled: parser.dropping(ENABLE, boolean),
        trust: parser.dropping(TRUST, boolean),
        name: parser.refusing(NAME, name).flatten(),
    };
    let Some(all) = &parser.config.settings.tracing else {
        if policy.enabled == Some(true) {
            parser.warn(ENABLE, "has no effect: the ConfigMap names no otlp-collector-host");
        }
        return None;
    };
    let enabled = policy.enabled.unwrap_or(all.enabled);
    if !enabled {
        for (key, given) in [(TRUST, policy.trust.is_some()), (NAME, policy.name.is_some())] {
            if given {
                parser.warn(key, "has no effect: enable-opentelemetry is off");
            }
        }
    }
    // What all have anyway is no policy: such routes stay those of most requests.
    let (all_enabled, all_trust) = (all.enabled, all.trust);
    let policy = match enabled {
        true => TracePolicy {
            enabled: policy.enabled.filter(|own| *own != all_enabled),
            trust: policy.trust.filter(|own| *own != all_trust),
            name: policy.name,
        },
        false => TracePolicy {
            enabled: policy.enabled.filter(|own| *own != all_enabled),
            ..TracePolicy::default()
        },
    };
    (policy != TracePolicy::default()).then_some(policy)
}

/// Empty: none.
fn name(value: &str) -> Result<Option<Arc<Text>>, Invalid> {
    const EXPECTED: Invalid = Invalid("a text of one line, with known variables");
    if value.chars().any(char::is_control) {
        return Err(EXPECTED);
    }
    let text = text::parse(value).map_err(|_unknown| EXPECTED)?;
    Ok((!value.is_empty()).then(|| Arc::new(text)))
}
