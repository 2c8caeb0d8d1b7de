//! Metrics in the form that Prometheus reads, computed from the state that they describe whenever somebody asks.
//!
//! A process lists in one table all that it ever tells: names, kinds, labels and help. Each part hands in a [`Source`] that
//! tells the values; one that is not in the table is an error of the program, which a test finds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The media type of what [`Metrics::text`] returns.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a metric changes over time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows while the process lives. Its name ends in `_total`.
    Counter,
    /// It grows and falls.
    Gauge,
}

/// One metric, as it is documented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Its whole name.
    pub name: &'static str,
    /// How it changes.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence without a full stop.
    pub help: &'static str,
}

/// A part of the process that tells values.
pub trait Source: fmt::Debug + Send + Sync {
    /// Tells the values at present.
    fn tell(&self, samples: &mut Samples);
}

/// Values that were told, by metric.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Vec<Sample>>);

type Sample = (Vec<(&'static str, String)>, f64);

/// All metrics of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    table: &'static [Metric],
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
}

impl Samples {
    /// Tells the value of a metric for one set of labels.
    pub fn put<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [(&'static str, &str); N],
        value: impl Into<f64>,
    ) {
        let labels = labels.map(|(key, value)| (key, value.to_owned())).into();
        self.0.entry(name).or_default().push((labels, value.into()));
    }

    /// Tells how many there are of something.
    pub fn count<const N: usize>(
        &mut self,
        name: &'static str,
        labels: [(&'static str, &str); N],
        count: u64,
    ) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus keeps every value as a float"
        )]
        self.put(name, labels, count as f64);
    }
}

impl Metrics {
    /// The metrics of `table`; nobody tells any yet.
    #[must_use]
    pub fn new(table: &'static [Metric]) -> Self {
        Self {
            table,
            sources: Arc::default(),
        }
    }

    /// Adds a part that tells values.
    pub fn add(&self, source: Arc<dyn Source>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push(source);
    }

    /// All values at present, in the form of [`MEDIA_TYPE`].
    ///
    /// # Errors
    ///
    /// A part tells what is not in the table, or not as it is there.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn samples(&self) -> Samples {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = sources.clone();
        let mut samples = Samples::default();
        sources.iter().for_each(|source| source.tell(&mut samples));
        samples
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Samples(mut told) = self.samples();
        for metric in self.table {
            if let Some(samples) = told.remove(metric.name) {
                metric.encode(&mut encoder, &samples)?;
            }
        }
        if let Some((name, _)) = told.pop_first() {
            tracing::error!(name, "this metric is told and not listed");
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// A table of metrics in Markdown, for the documentation.
#[must_use]
pub fn documentation(table: &[Metric]) -> String {
    let mut text = "| metric | kind | labels | what it tells |\n|---|---|---|---|\n".to_owned();
    for metric in table {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels: Vec<String> = labels.collect();
        let labels = labels.join(", ");
        let Metric { name, help, .. } = metric;
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}

impl Metric {
    /// A metric that grows and falls.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: Kind::Gauge,
            labels,
            help,
        }
    }

    /// A metric that only grows.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            labels,
            help,
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, samples: &[Sample]) -> fmt::Result {
        let (name, kind) = match self.kind {
            // The encoder puts the suffix back.
            Kind::Counter => (self.name.trim_end_matches("_total"), MetricType::Counter),
            Kind::Gauge => (self.name, MetricType::Gauge),
        };
        let mut whole = encoder.encode_descriptor(name, self.help, None, kind)?;
        for (labels, value) in samples {
            if !labels.iter().map(|(key, _)| key).eq(self.labels) {
                tracing::error!(self.name, ?labels, "this metric has other labels");
                return Err(fmt::Error);
            }
            if labels.is_empty() {
                self.encode_value(&mut whole, *value)?;
            } else {
                self.encode_value(&mut whole.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&value, None),
            Kind::Gauge => encoder.encode_gauge(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Metric] = &[
        Metric::counter("netpol_things_total", &["reason"], "Things so far"),
        Metric::gauge("netpol_ready", &[], "Whether it is ready"),
    ];

    #[derive(Debug)]
    struct Told(fn(&mut Samples));

    impl Source for Told {
        fn tell(&self, samples: &mut Samples) {
            (self.0)(samples);
        }
    }

    fn text(tell: fn(&mut Samples)) -> Result<String, fmt::Error> {
        let metrics = Metrics::new(TABLE);
        metrics.add(Arc::new(Told(tell)));
        metrics.text()
    }

    #[test]
    fn values_are_written_as_the_table_says() {
        let written = text(|samples| {
            samples.put("netpol_ready", [], 1);
            samples.count("netpol_things_total", [("reason", "a")], 3);
            samples.count("netpol_things_total", [("reason", "b\"")], 0);
        });
        let want = "# HELP netpol_things Things so far\n\
            # TYPE netpol_things counter\n\
            netpol_things_total{reason=\"a\"} 3.0\n\
            netpol_things_total{reason=\"b\\\"\"} 0.0\n\
            # HELP netpol_ready Whether it is ready\n\
            # TYPE netpol_ready gauge\n\
            netpol_ready 1.0\n\
            # EOF\n";
        assert_eq!(written.unwrap(), want);
    }

    #[test]
    fn what_is_not_listed_is_an_error() {
        assert!(text(|samples| samples.put("netpol_other", [], 1)).is_err());
        assert!(text(|samples| samples.put("netpol_ready", [("a", "b")], 1)).is_err());
        assert!(text(|samples| samples.put("netpol_things_total", [], 1)).is_err());
    }
}
