//! A job's spans belong to one trace whose id is the job's id, whoever works on it and when: the submit in one request,
//! the run in a task of the worker, perhaps after a restart.
//!
//! A span without a parent that names a job (`job.id`) begins such a trace. OpenTelemetry asks for a new trace id when
//! the span is entered for the first time, so the id is laid ready just before.

use std::{cell::Cell, fmt};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};
use uuid::Uuid;

/// The field that names a job.
const FIELD: &str = "job.id";

thread_local! {
    /// The trace id for the span that is being entered.
    static READY: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Lays the ids of traces ready. Comes before the layer of OpenTelemetry.
pub(super) struct JobTraces;

/// A span that begins a job's trace when it is entered.
struct Begins(TraceId);

impl<S> Layer<S> for JobTraces
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.parent().is_none()) else { return };
        let mut job = JobField(None);
        attributes.record(&mut job);
        if let Some(trace) = job.0 {
            span.extensions_mut().replace(Begins(trace));
        }
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        let begins = context.span(id).and_then(|span| span.extensions_mut().remove::<Begins>());
        READY.set(begins.map(|Begins(trace)| trace));
    }
}

/// Looks for a job's id among the fields of a span.
struct JobField(Option<TraceId>);

impl Visit for JobField {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FIELD {
            self.record_str(field, &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FIELD {
            self.0 = Uuid::try_parse(value).ok().map(|id| TraceId::from_bytes(id.into_bytes()));
        }
    }
}

/// Gives out the ids that were laid ready, and random ones else.
#[derive(Debug, Default)]
pub(super) struct JobIds(RandomIdGenerator);

impl IdGenerator for JobIds {
    fn new_trace_id(&self) -> TraceId {
        READY.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
