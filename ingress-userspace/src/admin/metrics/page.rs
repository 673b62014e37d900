//! One scrape's page, in OpenMetrics: what encodes it is `prometheus-client`. Its own metrics are not
//! used, for ours are counted in the workers' own memory and read when a page is made.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::family::{CONTROLLER, Family, Kind};

/// Labels as text, escaped once for all lines of a series.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    /// The first name.
    first: &'static str,
    /// From its value on, without the last quotation mark.
    rest: String,
}

impl Labels {
    pub(super) fn add(&mut self, name: &'static str, value: &str) {
        if self.first.is_empty() {
            self.first = name;
        } else {
            self.rest.push_str("\",");
            self.rest.push_str(name);
            self.rest.push_str("=\"");
        }
        for character in value.chars() {
            match character {
                '\\' => self.rest.push_str("\\\\"),
                '"' => self.rest.push_str("\\\""),
                '\n' => self.rest.push_str("\\n"),
                other => self.rest.push(other),
            }
        }
    }
}

impl EncodeLabelSet for &Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use fmt::Write as _;
        if self.first.is_empty() {
            return Ok(());
        }
        let mut label = encoder.encode_label();
        let mut key = label.encode_label_key()?;
        key.write_str(self.first)?;
        let mut value = key.encode_label_value()?;
        value.write_str(&self.rest)?;
        value.finish()
    }
}

/// The page while it is written.
pub(super) struct Page<'e> {
    encoder: DescriptorEncoder<'e>,
    /// The values of [`CONTROLLER`].
    controller: [String; 3],
}

/// A family while it is written.
pub(super) struct Lines<'p> {
    family: &'static Family,
    /// The encoder writes `_total`.
    is_total: bool,
    encoder: MetricEncoder<'p>,
    controller: &'p [String; 3],
}

impl<'e> Page<'e> {
    pub(super) fn new(encoder: DescriptorEncoder<'e>, controller: [String; 3]) -> Self {
        Self { encoder, controller }
    }

    /// The labels of a series of this family with these values, the last ones left out.
    pub(super) fn labels(&self, family: &Family, values: &[&str]) -> Labels {
        labels(family, &self.controller, values)
    }

    /// Begins a family.
    pub(super) fn family(&mut self, family: &'static Family) -> Result<Lines<'_>, fmt::Error> {
        // OpenMetrics wants counters to end in `_total`, and the encoder sees to it. Those that
        // ingress-nginx named otherwise are of an unknown type there: their names are what counts.
        let counter = family.counter();
        let (name, kind) = match (family.kind, counter) {
            (Kind::Counter, Some(name)) => (name, MetricType::Counter),
            (Kind::Counter, None) => (family.name, MetricType::Unknown),
            (Kind::Gauge, _) => (family.name, MetricType::Gauge),
            (Kind::Histogram, _) => (family.name, MetricType::Histogram),
        };
        let encoder = self.encoder.encode_descriptor(name, family.help, None, kind)?;
        let is_total = counter.is_some();
        Ok(Lines { family, is_total, encoder, controller: &self.controller })
    }

    /// A family of one series without labels.
    pub(super) fn single(&mut self, family: &'static Family, value: f64) -> fmt::Result {
        self.family(family)?.value(&[], value)
    }

    /// Likewise, of a whole number.
    pub(super) fn whole(&mut self, family: &'static Family, value: u64) -> fmt::Result {
        self.family(family)?.whole(&[], value)
    }

    /// A family of series with one label.
    pub(super) fn by<'v>(
        &mut self,
        family: &'static Family,
        series: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut lines = self.family(family)?;
        series.into_iter().try_for_each(|(value, count)| lines.whole(&[value], count))
    }
}

impl Lines<'_> {
    /// The labels of a series with these values of the family's labels, the last ones left out.
    pub(super) fn labels(&self, values: &[&str]) -> Labels {
        labels(self.family, self.controller, values)
    }

    pub(super) fn whole(&mut self, values: &[&str], value: u64) -> fmt::Result {
        let labels = self.labels(values);
        self.whole_of(&labels, value)
    }

    pub(super) fn whole_of(&mut self, labels: &Labels, value: u64) -> fmt::Result {
        let is_total = self.is_total;
        let with = |encoder: &mut MetricEncoder<'_>| match is_total {
            true => encoder.encode_counter::<NoLabelSet, u64, f64>(&value, None),
            false => encoder.encode_gauge(&Whole(value)),
        };
        match labels.first {
            "" => with(&mut self.encoder),
            _ => with(&mut self.encoder.encode_family(&labels)?),
        }
    }

    pub(super) fn value(&mut self, values: &[&str], value: f64) -> fmt::Result {
        let labels = self.labels(values);
        let is_total = self.is_total;
        let with = |encoder: &mut MetricEncoder<'_>| match is_total {
            true => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            false => encoder.encode_gauge(&value),
        };
        match labels.first {
            "" => with(&mut self.encoder),
            _ => with(&mut self.encoder.encode_family(&&labels)?),
        }
    }

    /// A histogram; `buckets`: by upper bound, not cumulative.
    pub(super) fn histogram(
        &mut self,
        labels: &Labels,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        match labels.first {
            "" => self.encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None),
            _ => self
                .encoder
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, buckets, None),
        }
    }
}

fn labels(family: &Family, controller: &[String; 3], values: &[&str]) -> Labels {
    let mut labels = Labels::default();
    family.labels.iter().zip(values).for_each(|(name, value)| labels.add(name, value));
    if family.is_of_ingress_nginx() {
        CONTROLLER.iter().zip(controller).for_each(|(name, own)| labels.add(name, own));
    }
    labels
}

/// A whole number that may be larger than the encoder's whole gauges.
struct Whole(u64);

impl prometheus_client::encoding::EncodeGaugeValue for Whole {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::GaugeValueEncoder<'_>,
    ) -> fmt::Result {
        match i64::try_from(self.0) {
            Ok(value) => value.encode(encoder),
            Err(_) => (self.0 as f64).encode(encoder),
        }
    }
}
