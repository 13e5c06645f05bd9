//! Log lines for programs: one flat JSON object per line, with names as OpenTelemetry has them. `timestamp`, `severity` and
//! `body` come first, then the fields of the line and of the spans around it, by name, and `target`.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The format. Fields of spans must be formatted by `JsonFields`.
pub(super) struct FlatJson;

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields {
            fields: Map::new(),
            body: String::new(),
            target: event.metadata().target().to_owned(),
        };
        let spans = context.event_scope().into_iter();
        for span in spans.flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let of_span = extensions.get::<FormattedFields<N>>();
            let of_span = of_span.and_then(|text| serde_json::from_str(text.as_str()).ok());
            if let Some(Value::Object(of_span)) = of_span {
                fields.fields.extend(of_span);
            }
        }
        // A field of the line has precedence over one of a span.
        event.record(&mut fields);
        let Fields {
            fields,
            body,
            target,
        } = fields;
        write!(writer, "{{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        let severity = event.metadata().level();
        write!(writer, "\",\"severity\":\"{severity}\"")?;
        write!(writer, ",\"body\":{}", Value::String(body))?;
        for (name, value) in fields {
            write!(writer, ",{}:{value}", Value::String(name))?;
        }
        writeln!(writer, ",\"target\":{}}}", Value::String(target))
    }
}

/// The fields of a line.
struct Fields {
    fields: Map<String, Value>,
    body: String,
    target: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match field.name() {
            "message" => self.body = text(value),
            // Lines of libraries that use the crate `log`.
            "log.target" => self.target = text(value),
            "log.module_path" | "log.file" | "log.line" => {}
            name => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing_subscriber::fmt::format::JsonFields;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("the log").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_flat_object_with_the_fields_of_its_spans() {
        let log = Log::default();
        let written = log.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(FlatJson)
            .fmt_fields(JsonFields::new())
            .with_writer(move || log.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::info_span!("http", http.request.id = "r\"1", payment.id = 1);
            let _request = request.enter();
            request.record("payment.id", 2);
            let _step = tracing::info_span!("step", kind = "record").entered();
            let none: Option<&str> = None;
            tracing::warn!(
                payment.id = 3,
                duration_ms = 1.5,
                reason = none,
                error = %"line\nbreak",
                "two {}",
                "words"
            );
        });
        let written = written.0.lock().expect("the log").clone();
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("{\"timestamp\":\"20"), "{text}");
        let mut line: Value = serde_json::from_str(&text).expect("JSON");
        let timestamp = line["timestamp"].take();
        assert!(timestamp.as_str().is_some_and(|at| at.ends_with('Z')));
        let expected = json!({
            "timestamp": null,
            "severity": "WARN",
            "body": "two words",
            "duration_ms": 1.5,
            "error": "line\nbreak",
            "http.request.id": "r\"1",
            "kind": "record",
            "payment.id": 3,
            "target": "payment_service::telemetry::json::tests",
        });
        assert_eq!(line, expected);
    }
}
