//! What the upstream is asked for.

use crate::proxy::{message::RequestHead, respond::Failure};

/// Puts the rewritten path, if there is one, and the client's query in place of the target. Without
/// a rewrite the target stays the client's own, untouched.
pub(super) fn rewrite(head: &mut RequestHead, rewritten: Option<String>) -> Result<(), Failure> {
    let Some(mut path) = rewritten else { return Ok(()) };
    if let Some(query) = head.query().filter(|query| !query.is_empty()) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        return Err(Failure::BadTarget);
    }
    head.target = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(target: &str, rewritten: Option<&str>) -> Result<String, Failure> {
        let mut head = RequestHead { target: target.to_owned(), ..RequestHead::default() };
        rewrite(&mut head, rewritten.map(str::to_owned)).map(|()| head.target)
    }

    #[test]
    fn a_target_is_passed_on_as_it_came() {
        assert_eq!(to("/a//b/%2e%2F?q=%20", None).as_deref(), Ok("/a//b/%2e%2F?q=%20"));
    }

    #[test]
    fn a_rewritten_path_keeps_the_query() {
        assert_eq!(to("/old?a=1", Some("/new")).as_deref(), Ok("/new?a=1"));
        assert_eq!(to("/old?a=1", Some("/new?b=2")).as_deref(), Ok("/new?b=2&a=1"));
        assert_eq!(to("/old", Some("/new")).as_deref(), Ok("/new"));
        assert_eq!(to("/old?", Some("/new")).as_deref(), Ok("/new"));
        assert_eq!(to("/old", Some("/a b")), Err(Failure::BadTarget));
    }
}
