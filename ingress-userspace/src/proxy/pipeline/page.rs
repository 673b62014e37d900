//! Another request of the same host, whose answer stands in the place of an error's page
//! (`error_page`). It goes through all stages again, those that admit included.

use http::Method;

use super::errors::strip;
use crate::proxy::message::{BodyLength, Known, RequestHead};

/// Makes the client's request the one for this target: a path, or the name of a location, which has
/// the client's path and method. Its body is not asked for.
pub(super) fn turn(head: &mut RequestHead, target: &str) {
    let authorization = head.fields.get(Known::Authorization).map(<[u8]>::to_vec);
    // As nginx: `$request_uri` stays what the client asked for.
    head.original.get_or_insert_with(|| head.target.clone());
    if target.starts_with('/') {
        target.clone_into(&mut head.target);
        if head.method != Method::HEAD {
            head.method = Method::GET;
        }
    } else if head.method == Method::CONNECT {
        head.method = Method::GET;
    }
    head.protocol.clear();
    head.body = match head.method {
        Method::GET | Method::HEAD => BodyLength::None,
        _ => BodyLength::Exact(0),
    };
    strip(&mut head.fields);
    // Who asks stays who it is: the page is protected as its own location says.
    if let Some(authorization) = authorization {
        head.fields.push_known(Known::Authorization, &authorization);
    }
}
