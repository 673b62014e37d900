//! What the upstream is asked for.

use http::{Uri, uri::PathAndQuery};

use crate::proxy::respond::Failure;

/// The origin-form target for the upstream: the client's own, untouched, or the rewritten path with
/// the client's query.
pub(super) fn upstream(target: &Uri, rewritten: Option<String>) -> Result<Uri, Failure> {
    let Some(mut path) = rewritten else {
        let own = target.path_and_query().cloned();
        return Ok(own.unwrap_or_else(|| PathAndQuery::from_static("/")).into());
    };
    if let Some(query) = target.query() {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
    PathAndQuery::try_from(path).map(Uri::from).map_err(|_not_a_target| Failure::BadTarget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(target: &str, rewritten: Option<&str>) -> Result<String, Failure> {
        let target: Uri = target.parse().expect("a target");
        upstream(&target, rewritten.map(str::to_owned)).map(|uri| uri.to_string())
    }

    #[test]
    fn a_target_is_passed_on_as_it_came() {
        assert_eq!(to("/a//b/%2e%2F?q=%20", None).as_deref(), Ok("/a//b/%2e%2F?q=%20"));
        assert_eq!(to("http://h.example/a?b", None).as_deref(), Ok("/a?b"));
        assert_eq!(to("http://h.example", None).as_deref(), Ok("/"));
    }

    #[test]
    fn a_rewritten_path_keeps_the_query() {
        assert_eq!(to("/old?a=1", Some("/new")).as_deref(), Ok("/new?a=1"));
        assert_eq!(to("/old?a=1", Some("/new?b=2")).as_deref(), Ok("/new?b=2&a=1"));
        assert_eq!(to("/old", Some("/new")).as_deref(), Ok("/new"));
        assert_eq!(to("/old", Some("/a b")), Err(Failure::BadTarget));
    }
}
