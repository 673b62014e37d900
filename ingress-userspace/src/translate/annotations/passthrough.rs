use super::{Invalid, Parser};
use crate::model::ProxyVersion;

/// `ssl-passthrough` (reference section 4.5) and, an addition of ours,
/// `ssl-passthrough-proxy-protocol`. `None`: TLS is ended here.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Option<ProxyVersion>> {
    let version = parser.dropping("ssl-passthrough-proxy-protocol", |value| match value {
        "off" => Ok(None),
        "v1" => Ok(Some(ProxyVersion::V1)),
        "v2" => Ok(Some(ProxyVersion::V2)),
        _ => Err(Invalid("`off`, `v1` or `v2`")),
    });
    parser.boolean("ssl-passthrough", false).then(|| version.flatten())
}
