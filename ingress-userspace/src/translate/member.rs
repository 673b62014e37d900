use k8s_openapi::api::core::v1::Node;

use super::report::Report;
use crate::{
    model::{Diagnostic, Member, ObjectRef},
    stores::Store,
};

/// The nodes that connections can be steered to, sorted by name.
pub(super) fn members(nodes: &Store<Node>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Member> {
    let member = |(key, node): (&crate::stores::Key, &std::sync::Arc<Node>)| {
        let mut report = Report::on(ObjectRef::new("Node", "", key.name.clone()), diagnostics);
        let status = node.status.clone().unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let Some(internal) = addresses.iter().find(|address| address.type_ == "InternalIP") else {
            report
                .error("status.addresses", "has no InternalIP; connections are not steered to it");
            return None;
        };
        let Ok(address) = internal.address.parse() else {
            let message = format!(
                "InternalIP `{}` is no IP address; connections are not steered to it",
                internal.address
            );
            report.error("status.addresses", message);
            return None;
        };
        let conditions = status.conditions.unwrap_or_default();
        let unready = conditions.iter().any(|one| one.type_ == "Ready" && one.status != "True");
        let ready = !unready && node.metadata.deletion_timestamp.is_none();
        Some(Member { name: key.name.clone(), address, ready })
    };
    nodes.iter().filter_map(member).collect()
}
