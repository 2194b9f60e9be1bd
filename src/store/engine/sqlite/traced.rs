//! The statements that a test runs, as the engine tells them.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// The statements that were run by this thread, in order.
#[derive(Clone, Default)]
pub(crate) struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    /// Begins to listen, until the guard is dropped.
    pub(crate) fn listen() -> (Statements, DefaultGuard) {
        let statements = Statements::default();
        let subscriber = tracing_subscriber::registry().with(statements.clone());
        (statements, tracing::subscriber::set_default(subscriber))
    }

    /// Those since this was asked last.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().ends_with("sqlite::run") {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Statements {
    fn record_str(&mut self, field: &Field, text: &str) {
        // The steps of the schema hold comments, and run once on an empty store.
        if field.name() == "text" && !text.contains("create table") && !text.contains("alter table") {
            // No other text holds data or comments, and so no other semicolon.
            self.0.lock().unwrap().extend(text.split(';').map(|one| one.trim().to_owned()));
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
