//! The kernel tier's metrics, as plain values.

use crate::l4;

/// One metric and its samples.
pub(super) struct Family {
    pub(super) name: &'static str,
    /// As Prometheus calls it: `counter` or `gauge`.
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// Labels and a value.
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: u64,
}

/// All families; those without samples too.
///
/// # Errors
/// If a map cannot be read.
pub(super) fn families(
    reader: &l4::Reader,
    status: &l4::Status,
) -> Result<Vec<Family>, l4::L4Error> {
    let mut packets = Vec::new();
    let mut bytes = Vec::new();
    for service in reader.services()? {
        for (reason, count) in service.reasons {
            let labels = vec![
                ("vip", service.name.clone()),
                ("verdict", reason.verdict().name().to_owned()),
                ("reason", reason.name().to_owned()),
            ];
            packets.push(Sample { labels: labels.clone(), value: count.packets });
            bytes.push(Sample { labels, value: count.bytes });
        }
    }
    let mut forwarded = Vec::new();
    for node in reader.nodes()? {
        let l4::NodeCounts { name, forwards, .. } = node;
        let hops =
            [("first", forwards.first), ("next", forwards.next), ("relayed", forwards.relayed)];
        for (hop, value) in hops {
            let labels = vec![("node", name.clone()), ("hop", hop.to_owned())];
            forwarded.push(Sample { labels, value });
        }
    }
    let generations = reader.generations()?.into_iter().map(|(group, generation)| Sample {
        labels: vec![("group", group.to_string())],
        value: generation.into(),
    });
    let members = ["ready", "draining", "suspect", "dead"].map(|state| Sample {
        labels: vec![("state", state.to_owned())],
        value: status
            .nodes
            .values()
            .filter(|node| format!("{:?}", node.state).to_lowercase() == state)
            .count() as u64,
    });
    let family = |name, kind, help, samples| Family { name, kind, help, samples };
    Ok(vec![
        family(
            "penstock_l4_packets_total",
            "counter",
            "packets by virtual service, verdict and reason",
            packets,
        ),
        family(
            "penstock_l4_bytes_total",
            "counter",
            "bytes of the packets, as they arrived",
            bytes,
        ),
        family(
            "penstock_l4_forwarded_total",
            "counter",
            "packets sent to a node through the tunnel, by the way that they took",
            forwarded,
        ),
        family(
            "penstock_l4_table_generation",
            "gauge",
            "number of the steering table in force",
            generations.collect(),
        ),
        family(
            "penstock_l4_members",
            "gauge",
            "members by what they are planned as",
            members.into(),
        ),
    ])
}
