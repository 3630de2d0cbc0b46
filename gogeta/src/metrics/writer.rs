//! Families of metrics, as they are written when somebody asks.

use std::fmt;

use gogeta_common::latency::{BOUNDS, CLASSES};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Writes one family after the other.
#[derive(Debug)]
pub struct Writer<'e>(pub DescriptorEncoder<'e>);

/// Labels and a value.
type Row<'a, const N: usize> = ([(&'a str, &'a str); N], u64);

/// All of these write to memory, and fail as that does: not.
impl Writer<'_> {
    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters((name, None), help, [([], value)])
    }

    /// A gauge by its labels.
    pub fn gauges<'r, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'r, N>>,
    ) -> fmt::Result {
        self.family((name, None), help, ConstGauge::new, rows)
    }

    /// A counter by its labels.
    pub fn counters<'r, const N: usize>(
        &mut self,
        name: (&str, Option<Unit>),
        help: &str,
        rows: impl IntoIterator<Item = Row<'r, N>>,
    ) -> fmt::Result {
        self.family(name, help, ConstCounter::new, rows)
    }

    fn family<'r, M: EncodeMetric, const N: usize>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        metric: fn(u64) -> M,
        rows: impl IntoIterator<Item = Row<'r, N>>,
    ) -> fmt::Result {
        let kind = metric(0).metric_type();
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            match labels.is_empty() {
                true => return metric(value).encode(family),
                false => metric(value).encode(family.encode_family(&labels)?)?,
            }
        }
        Ok(())
    }

    /// Histograms of seconds, whose buckets end at some of the [`BOUNDS`].
    pub fn histograms<'r, const N: usize>(
        &mut self,
        (name, help): (&str, &str),
        bounds: &[usize],
        rows: impl IntoIterator<Item = ([(&'r str, &'r str); N], [u64; CLASSES], u64)>,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut family = self.0.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (labels, classes, micros) in rows {
            let mut buckets = Vec::with_capacity(bounds.len() + 1);
            let mut from = 0;
            for bound in bounds {
                buckets.push((BOUNDS[*bound] as f64 / 1e9, classes[from..=*bound].iter().sum()));
                from = bound + 1;
            }
            buckets.push((f64::INFINITY, classes[from..].iter().sum::<u64>()));
            let (seconds, count) = (micros as f64 / 1e6, classes.iter().sum());
            let mut one = match labels.is_empty() {
                true => {
                    return family.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None);
                }
                false => family.encode_family(&labels)?,
            };
            one.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
        }
        Ok(())
    }
}
